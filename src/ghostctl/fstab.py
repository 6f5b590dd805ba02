# SPDX-License-Identifier: GPL-2.0-or-later
"""fstab lines <-> records, losslessly: b"".join(line.raw for line in parse(data)) == data."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATH = "/etc/fstab"
GHOST_PREFIX = "x-ghost."


class Line:
    """One line of fstab. `raw` is all of it, with its ending; `spec` is None unless it is an entry.

    `error` says why a line that looks like an entry is none.
    """

    __slots__ = (
        "error",
        "file",
        "freq",
        "number",
        "options",
        "optstring",
        "passno",
        "raw",
        "spec",
        "vfstype",
    )

    def __init__(self, raw: bytes, number: int = 0) -> None:
        self.raw = raw
        self.number = number
        self.spec: str | None = None
        self.file = self.vfstype = self.optstring = ""
        self.options: list[tuple[str, str | None]] = []
        self.freq = self.passno = 0
        self.error: str | None = None

        text = raw.strip(b" \t\r\n")
        if not text or text.startswith(b"#"):
            return
        if b"\0" in text:
            self.error = "NUL byte in the line"
            return
        fields = [_decode(field) for field in text.replace(b"\t", b" ").split(b" ") if field]
        if len(fields) < 3:
            self.error = f"an entry has at least 3 fields, this one has {len(fields)}"
            return
        self.spec, self.file, self.vfstype = fields[:3]
        self.optstring = fields[3] if len(fields) > 3 else "defaults"
        self.options = split_options(self.optstring)
        self.freq = _number(fields[4]) if len(fields) > 4 else 0
        self.passno = _number(fields[5]) if len(fields) > 5 else 0

    def has_option(self, key: str) -> bool:
        return any(k == key for k, _ in self.options)

    def option(self, key: str) -> str | None:
        """The value of the last `key=value`, as for mount options: a later one wins."""
        for k, value in reversed(self.options):
            if k == key:
                return value
        return None


def _number(field: str) -> int:
    # isdecimal() alone lets digits of every script through
    return int(field) if field.isascii() and field.isdecimal() and len(field) < 10 else 0


def _decode(field: bytes) -> str:
    head, *rest = field.split(b"\\")
    out = [head]
    for part in rest:
        digits = part[:3]
        if len(digits) == 3 and not digits.strip(b"01234567") and b"000" < digits < b"400":
            out += bytes((int(digits, 8),)), part[3:]
        else:
            out += b"\\", part
    return os.fsdecode(b"".join(out))


def encode(field: str) -> bytes:
    """Escape what would end the field (blanks, line ends), begin a comment, or look like an escape."""
    out = bytearray()
    for byte in os.fsencode(field):
        if byte in b" \t\n\r\\" or (byte == 0x23 and not out):
            out += b"\\%03o" % byte
        else:
            out.append(byte)
    return bytes(out)


def split_options(text: str) -> list[tuple[str, str | None]]:
    """The comma-separated options in order.

    In an x-ghost option, commas in double quotes belong to the value, and in x-ghost.size those in
    parentheses: `x-ghost.fallback="xswap,zram"`, `x-ghost.size=min(ram/2,16G)`. Others separate, as for
    systemd.
    """
    options: list[tuple[str, str | None]] = []
    parts = text.split(",")
    i = 0
    while i < len(parts):
        option, end = parts[i], i + 1
        if option.startswith(GHOST_PREFIX):
            end = _value_end(parts, i)
            option = ",".join(parts[i:end]).replace('"', "")
        if option:
            key, equals, value = option.partition("=")
            options.append((key, value if equals else None))
        i = end
    return options


def _value_end(parts: list[str], start: int) -> int:
    nests = parts[start].startswith("x-ghost.size=")
    depth = quotes = 0
    # bounded: a line of nothing but opened quotes would take quadratic time
    for i, part in enumerate(parts[start : start + 16], start + 1):
        depth += nests * (part.count("(") - part.count(")"))
        quotes += part.count('"')
        if depth <= 0 and quotes % 2 == 0:
            return i
    return start + 1


def parse(data: bytes) -> list[Line]:
    return [Line(raw, number) for number, raw in enumerate(split_lines(data), 1)]


def split_lines(data: bytes) -> list[bytes]:
    """Lines with their endings. bytes.splitlines() would also end one at a lone carriage return."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def read(path: str = PATH) -> list[Line]:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return parse(read_open(fd, path))
    finally:
        os.close(fd)


def read_open(fd: int, path: str) -> bytes:
    """What is in the open file `path`. Raises `OSError`; a pipe has no end, nor have most devices."""
    st = os.fstat(fd)
    if stat.S_ISDIR(st.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(st.st_mode) and not os.path.samestat(st, os.stat(os.devnull)):
        raise OSError(errno.EINVAL, "is not a regular file", path)
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def is_swap(line: Line) -> bool:
    return line.spec is not None and line.vfstype == "swap"


def iter_swap(lines: Iterable[Line]) -> Iterator[Line]:
    return filter(is_swap, lines)


def declares_ghost(line: Line) -> bool:
    return is_swap(line) and any(key.startswith(GHOST_PREFIX) for key, _ in line.options)


def format_swap(spec: str, options: Iterable[tuple[str, str | None]]) -> bytes:
    """A swap line. A value with a comma is quoted, so that split_options() gives the same options again."""
    words = []
    for key, value in options:
        quoted = f'"{value}"' if value and "," in value else value
        words.append(key if quoted is None else f"{key}={quoted}")
    return (
        b" ".join((encode(spec), b"none", b"swap", encode(",".join(words) or "defaults"), b"0", b"0")) + b"\n"
    )


def append(data: bytes, raw: bytes) -> bytes:
    """`data` with one more line at its end; a last line without ending gets one."""
    return data + (b"\n" if data and not data.endswith(b"\n") else b"") + raw
