# SPDX-License-Identifier: GPL-2.0-or-later
"""fstab lines <-> records, losslessly: b"".join(line.raw for line in parse(data)) == data."""

from __future__ import annotations

import errno
import os
import stat

from . import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATH = "/etc/fstab"
GHOST_PREFIX = "x-ghost."

BACKENDS = ("file", "ghostswap", "xswap", "zram")
"""What x-ghost.fallback may name, in the order of `backends`, which has a module for each."""


class Line:
    """One line of fstab. `raw` is all of it, with its ending; `spec` is None unless it is an entry.

    `error` says why a line that looks like an entry is none.
    """

    __slots__ = ("error", "file", "number", "options", "optstring", "raw", "spec", "vfstype")

    def __init__(self, raw: bytes, number: int = 0) -> None:
        self.raw = raw
        self.number = number
        self.spec: str | None = None
        self.file = self.vfstype = self.optstring = ""
        self.options: list[tuple[str, str | None]] = []
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
        if fields[2] != "swap" and any(f",{GHOST_PREFIX}" in f",{field}" for field in fields[1:]):
            self.error = (
                f"x-ghost options, but type {fields[2]}, not swap; a blank in a path is written \\040"
            )
            return
        self.spec, self.file, self.vfstype = fields[:3]
        self.optstring = fields[3] if len(fields) > 3 else "defaults"
        self.options = split_options(self.optstring)

    def has_option(self, key: str) -> bool:
        return any(k == key for k, _ in self.options)

    def option(self, key: str) -> str | None:
        """The value of the last `key=value`, as for mount options: a later one wins."""
        for k, value in reversed(self.options):
            if k == key:
                return value
        return None


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

    In an x-ghost option, commas in double quotes belong to the value, in x-ghost.size those in
    parentheses, and in x-ghost.fallback those before another backend: `x-ghost.label="a,b"`,
    `x-ghost.size=min(ram/2,16G)`, `x-ghost.fallback=xswap,zram`. Others separate, as for systemd.
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
    lists = parts[start].startswith("x-ghost.fallback=")
    depth = quotes = 0
    # bounded: a line of nothing but opened quotes would take quadratic time
    for i, part in enumerate(parts[start : start + 16], start + 1):
        depth += nests * (part.count("(") - part.count(")"))
        quotes += part.count('"')
        if depth <= 0 and quotes % 2 == 0 and not (lists and i < len(parts) and parts[i] in BACKENDS):
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
    try:
        with open(fd, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        error.filename = path
        raise


def is_swap(line: Line) -> bool:
    return line.spec is not None and line.vfstype == "swap"


def iter_swap(lines: Iterable[Line]) -> Iterator[Line]:
    return filter(is_swap, lines)


def declares_ghost(line: Line) -> bool:
    return is_swap(line) and any(key.startswith(GHOST_PREFIX) for key, _ in line.options)


def simplify(path: str) -> str:
    """The path without repeated slashes, `.` and slashes at its end, as systemd has it before escaping."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def priority(text: str) -> int | None:
    """The number of ``pri=``, -1 to 32767 (swapon(8)); None when it is none."""
    number = sizes.natural(text.removeprefix("-"))
    if number is None:
        return None
    prio = -number if text.startswith("-") else number
    return prio if -1 <= prio <= 32767 else None


def format_swap(spec: str, options: Iterable[tuple[str, str | None]]) -> bytes:
    """A swap line. A value is quoted where split_options() would not give the same option again."""
    words = []
    for key, value in options:
        word = key if value is None else f"{key}={value}"
        words.append(word if split_options(word) == [(key, value)] else f'{key}="{value}"')
    return (
        b" ".join((encode(spec), b"none", b"swap", encode(",".join(words) or "defaults"), b"0", b"0")) + b"\n"
    )


def append(data: bytes, raw: bytes) -> bytes:
    """`data` with one more line at its end; a last line without ending gets one."""
    return data + (b"\n" if data and not data.endswith(b"\n") else b"") + raw
