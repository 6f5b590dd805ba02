# SPDX-License-Identifier: GPL-2.0-or-later
"""fstab lines <-> records, losslessly: b"".join(line.raw for line in parse(data)) == data.

What the line of a ghost means is read here and nowhere else, by `declare`.
"""

from __future__ import annotations

import errno
import os
import stat

from . import sizes
from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATH = "/etc/fstab"
GHOST_PREFIX = "x-ghost."
OPTIONS = ("size", "label", "uuid", "fallback", "compressor", "memory-limit", "zswap")
"""Those of ghostctl, without the prefix."""


LARGEST_PRIORITY = 32767
"""SWAP_FLAG_PRIO_MASK of include/linux/swap.h."""

BACKENDS = ("file", "ghostswap", "xswap", "dm", "zram")
"""What x-ghost.fallback may name, in the order of `backends`, which has a module for each."""


class LineError(UsageError):
    """Why a line of fstab declares no ghost that a boot could make or activate."""


class Line:
    """One line of fstab. `raw` is all of it, with its ending; `spec` is None unless it is an entry.

    `error` says why a line that looks like an entry is none; `excess` is true when something else than two
    numbers follows the options.
    """

    __slots__ = ("error", "excess", "file", "number", "options", "optstring", "raw", "spec", "vfstype")

    def __init__(self, raw: bytes, number: int = 0) -> None:
        self.raw = raw
        self.number = number
        self.spec: str | None = None
        self.file = self.vfstype = self.optstring = ""
        self.options: list[tuple[str, str | None]] = []
        self.error: str | None = None
        self.excess = False

        text = raw.strip(b" \t\r\n")
        if not text or text.startswith(b"#"):
            return
        if b"\0" in text:
            self.error = "NUL byte in the line"
            return
        fields = [_unescape(field) for field in text.replace(b"\t", b" ").split(b" ") if field]
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
        rest = fields[4:]
        while rest and rest[0].isdecimal() and len(rest) > len(fields) - 6:
            del rest[0]
        self.excess = bool(rest) and not rest[0].startswith("#")

    def has_option(self, key: str) -> bool:
        return any(k == key for k, _ in self.options)

    def option(self, key: str) -> str | None:
        """The value of the first `key=value`: swapon(8) takes no other."""
        return next((value for k, value in self.options if k == key), None)


def decode(field: str) -> str:
    """A field, or a part of one, without its escapes."""
    return _unescape(os.fsencode(field))


def _unescape(field: bytes) -> str:
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


def option_words(text: str) -> list[str]:
    """The comma-separated options in order, as they are written.

    In an x-ghost option, commas in double quotes belong to the value, in x-ghost.size those in
    parentheses, and in x-ghost.fallback those before another backend: `x-ghost.label="a,b"`,
    `x-ghost.size=min(ram/2,16G)`, `x-ghost.fallback=xswap,zram`. Others separate, as for systemd.
    """
    words = []
    parts = text.split(",")
    i = 0
    while i < len(parts):
        end = _value_end(parts, i) if parts[i].startswith(GHOST_PREFIX) else i + 1
        words.append(",".join(parts[i:end]))
        i = end
    return words


def split_option(word: str) -> tuple[str, str | None]:
    """Key and value of an option; None where it has no value."""
    if word.startswith(GHOST_PREFIX):
        word = word.replace('"', "")
    key, equals, value = word.partition("=")
    return key, value if equals else None


def split_options(text: str) -> list[tuple[str, str | None]]:
    """Keys and values of the comma-separated options in order, see `option_words`."""
    return [split_option(word) for word in option_words(text) if word]


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


def names_file(spec: str) -> bool:
    """Whether it can be a regular file: no tag such as UUID=, and not where the kernel has its files."""
    if not spec.startswith("/"):
        return "=" not in spec
    # in /dev/shm are files of users
    top, second = [*simplify(spec).split("/"), ""][1:3]
    return top not in ("dev", "proc", "sys") or (top, second) == ("dev", "shm")


def declares_ghost(line: Line) -> bool:
    """Whether it is the line of a ghost by its options: an ordinary area stays one, whatever they are."""
    return (
        is_swap(line)
        and any(key.startswith(GHOST_PREFIX) for key, _ in line.options)
        and names_file(line.spec or "")
    )


def simplify(path: str) -> str:
    """The path without repeated slashes, `.` and slashes at its end, as systemd has it before escaping."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def priority(text: str) -> int | None:
    """The number of a priority, -1 to 32767 (swapon(8)); None when it is none."""
    number = sizes.natural(text.removeprefix("-"))
    if number is None:
        return None
    prio = -number if text.startswith("-") else number
    return prio if -1 <= prio <= LARGEST_PRIORITY else None


def is_uuid(text: str) -> bool:
    groups = text.split("-")
    return [len(group) for group in groups] == [8, 4, 4, 4, 12] and not "".join(groups).strip(
        "0123456789abcdefABCDEF"
    )


class Declaration:
    """What the options of a swap line say, and what of them counts for nothing (`warnings`, sentences).

    swapon(8)'s own mean what they mean there: the first of a kind counts, and what it ignores or clamps is
    ignored or clamped. Those that begin with `GHOST_PREFIX` have to make sense. Raises `LineError` and
    `SizeError`.
    """

    __slots__ = (
        *("compressor", "discard", "fallback", "label", "memory_limit", "noauto", "nofail", "path"),
        *("priority", "size", "skips", "uuid", "warnings", "zswap"),
    )

    def __init__(self, options: Iterable[tuple[str, str | None]], path: str = "") -> None:
        self.path = path
        """Of the file, as fstab has it, but simplified; what else fstab calls the area."""
        self.size: str | None = None
        """As written: shares of the memory are those of the machine that boots."""
        self.label: str | None = None
        self.uuid: str | None = None
        self.priority: int | None = None
        """None: the kernel's choice, as is -1."""
        self.discard: str | None = None
        """``all``, ``once`` or ``pages``."""
        self.fallback: tuple[str, ...] = ()
        """Backends."""
        self.skips = False
        """A kernel without ghosts is no failure: x-ghost.fallback=skip."""
        self.compressor: str | None = None
        self.memory_limit: int | None = None
        """Bytes."""
        self.zswap = False
        """Turn it on."""
        self.nofail = self.noauto = False
        self.warnings: list[str] = []
        seen: dict[str, str | None] = {}
        after_fallback = False
        for key, value in options:
            after_fallback = key == f"{GHOST_PREFIX}fallback" or (
                after_fallback and value is None and key not in _WORDS and not key.startswith("x-")
            )
            if after_fallback and not key.startswith("x-"):
                self.warnings.append(f"{key} is ignored: no backend is called so, nor an option")
            if key not in seen:
                seen[key] = value
                self._read(key, value)
            elif value != seen[key] and (key in ("pri", "discard") or key.startswith(GHOST_PREFIX)):
                self.warnings.append(f"{key} is given twice: the first counts")

    def _read(self, key: str, value: str | None) -> None:
        if key.startswith(GHOST_PREFIX):
            self._read_own(key, value)
        elif key == "nofail":
            self.nofail = True
        elif key == "noauto":
            self.noauto = True
        elif key == "pri":
            self.priority = self._priority(value or "")
        elif key == "discard":
            self.discard = value if value in ("once", "pages") else "all"
            if value not in (None, "once", "pages"):
                self.warnings.append(f"discard={value}: policies are once and pages; all is discarded")
        elif key.lower().translate(_NO_PUNCTUATION).startswith("xghost"):
            self.warnings.append(f"{key} is not an option of ghostctl, whose options begin with x-ghost.")

    def _priority(self, text: str) -> int | None:
        """As swapon(8) of util-linux 2.38 reads it: the number that the text begins with."""
        number = text.strip().lstrip("+-")
        digits = number[: len(number) - len(number.lstrip("0123456789"))]
        if text == "-1":
            return -1
        if not digits or text.strip().startswith("-"):
            self.warnings.append(f"pri={text} is ignored: priorities are 0 to {LARGEST_PRIORITY}")
            return None
        # int() raises for thousands of digits
        significant = digits.lstrip("0")
        prio = min(int(significant[:6] or "0"), LARGEST_PRIORITY)
        if text != str(prio):
            self.warnings.append(f"pri={text} is taken for {prio}")
        return prio

    def _read_own(self, key: str, value: str | None) -> None:
        name = key[len(GHOST_PREFIX) :]
        if name == "zswap":
            self.zswap = value is None
            if value is not None:
                self.warnings.append(f"{key}={value} is ignored: the option takes no value")
            return
        if name not in OPTIONS:
            self.warnings.append(f"{key} is ignored: there is no such option")
            return
        if not value:
            raise LineError(f"{key} has no value")
        if not value.isprintable():
            raise LineError("an unprintable character in an option")
        if name == "size":
            sizes.to_pages(sizes.parse(value), sizes.page_size())
            self.size = value
        elif name == "label":
            self.label = value
            if len(os.fsencode(value)) > sizes.LABEL_BYTES:
                self.warnings.append(f"{key} is longer than {sizes.LABEL_BYTES} bytes: it is cut")
        elif name == "uuid":
            if not is_uuid(value):
                raise LineError(f"{key} is not a UUID")
            self.uuid = value
        elif name == "fallback":
            self.skips = value == "skip"
            self.fallback = () if self.skips else tuple(value.split(","))
            for backend in self.fallback:
                if backend not in BACKENDS:
                    raise LineError(f"{key}: no backend is called {backend!r}")
        elif name == "compressor":
            self.compressor = value
        else:
            self.memory_limit = sizes.parse(value)


_WORDS = ("defaults", "sw", "nofail", "noauto", "auto", "discard", "rw", "ro")
"""Options without a value that one finds on swap lines."""

_EXCESS = (
    "what follows the options counts for nothing: another entry needs a line of its own, "
    "and a blank in a value is written \\040"
)

_NO_PUNCTUATION = dict.fromkeys(map(ord, "-_.:"))


def declare(line: Line) -> Declaration:
    """What a swap line declares. Raises `LineError` and `SizeError`."""
    spec = str(line.spec)
    found = Declaration(line.options, simplify(spec) if spec.startswith("/") else spec)
    for word in option_words(line.optstring):
        if word.startswith(GHOST_PREFIX) and word.count('"') % 2:
            found.warnings.append(f"{word.partition('=')[0]}: the quote does not end")
    if line.excess:
        found.warnings.append(_EXCESS)
    return found


def misplaced(line: Line) -> list[str]:
    """What a line that declares no ghost says of ghosts, which counts for nothing (sentences)."""
    if not is_swap(line):
        return [line.error] if line.error and GHOST_PREFIX.encode() in line.raw else []
    own = [(key, value) for key, value in line.options if not key.startswith(GHOST_PREFIX)]
    found = [warning for warning in Declaration(own).warnings if "x-ghost" in warning]
    if len(own) < len(line.options):
        is_tag = not str(line.spec).startswith("/")
        why = "systemd finds no ghost but by its path" if is_tag else "that is not the path of a file"
        found.append(f"{line.spec}: {why}: its x-ghost options are ignored")
    if line.excess and GHOST_PREFIX.encode() in line.raw:
        found.append(_EXCESS)
    return found


def real_path(path: str, root: str = "") -> str:
    """The path of a file without the symbolic links of its directory; those below `root` are relative.

    A link in its last place stays.
    """
    directory = os.path.dirname(path)
    real = os.path.realpath(root + directory)
    if root:
        real = real[len(os.path.realpath(root)) :] or "/"
    return real.rstrip("/") + "/" + os.path.basename(path)


def is_for(line: Line, file: str) -> bool:
    """Whether a swap line is for a file, whichever way its path is written, or for what is called so."""
    spec = str(line.spec)
    if spec == file or "=" in file.partition("/")[0] or not spec.startswith("/"):
        return spec == file
    file = os.path.abspath(file)
    return real_path(simplify(spec)) == real_path(simplify(file))


def option_word(key: str, value: str | None) -> str:
    """An option as it is written: in quotes where split_options() would not give the same again."""
    word = key if value is None else f"{key}={value}"
    return word if split_options(word) == [(key, value)] else f'{key}="{value}"'


def format_swap(spec: str, options: Iterable[tuple[str, str | None]]) -> bytes:
    """A swap line."""
    words = [option_word(key, value) for key, value in options]
    return (
        b" ".join((encode(spec), b"none", b"swap", encode(",".join(words) or "defaults"), b"0", b"0")) + b"\n"
    )


def append(data: bytes, raw: bytes) -> bytes:
    """`data` with one more line at its end; a last line without ending gets one."""
    return data + (b"\n" if data and not data.endswith(b"\n") else b"") + raw
