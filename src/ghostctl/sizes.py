# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes in bytes: parse what people write, format what people read. Integers only."""

from __future__ import annotations

import os

from .errors import SizeError

PAGE_SIZES = tuple(4096 << n for n in range(6))
"""Page sizes that a swap header can have, in bytes: 4 KiB to 128 KiB."""

LABEL_BYTES = 15
"""Longest label of an area in bytes: the 16th of the field is NUL."""

MIN_PAGES = 10
"""The smallest area that mkswap(8) makes, in pages with the header page."""

MAX_PAGES = 2**32 - 1
"""The largest area that a header declares: last_page is a u32 and counts the header page."""

_SUFFIXES = "KMGTPE"
_DIGITS = frozenset("0123456789")
_MAX_TEXT = 80


def page_size() -> int:
    """Page size of the running kernel in bytes."""
    return os.sysconf("SC_PAGE_SIZE")


def ram_bytes() -> int:
    """Memory of this machine in bytes (`MemTotal` of proc_meminfo(5))."""
    return os.sysconf("SC_PHYS_PAGES") * page_size()


def natural(text: str) -> int | None:
    """A whole number below 2^64 in decimal digits; None for anything else.

    isdecimal() alone lets digits of every script through, and int() raises for thousands of them.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 20):
        return None
    number = int(text)
    return number if number < 2**64 else None


def _number(text: str) -> tuple[int, int]:
    """A decimal number as numerator and power-of-ten denominator: "1.5" is (15, 10)."""
    whole, point, fraction = text.partition(".")
    digits = whole + fraction
    if not digits or not _DIGITS.issuperset(digits) or (point and not fraction):
        raise ValueError(text)
    return int(digits), 10 ** len(fraction)


def _plain(text: str) -> int:
    number = text.rstrip("KMGTPEIBkmgtpeib")
    suffix = text[len(number) :].upper()
    unit = 1
    if suffix:
        exponent = _SUFFIXES.find(suffix[0]) + 1
        if not exponent or suffix[1:] not in ("", "IB", "B"):
            raise ValueError(text)
        unit = (1000 if suffix[1:] == "B" else 1024) ** exponent
    numerator, denominator = _number(number)
    if not suffix and denominator != 1:
        raise ValueError(text)
    return numerator * unit // denominator


def _term(text: str, ram: int) -> int:
    text = text.strip()
    if text.endswith("%"):
        numerator, denominator = _number(text[:-1])
        return ram * numerator // (100 * denominator)
    if text[:3].lower() != "ram":
        return _plain(text)
    operator, operand = text[3:].lstrip()[:1], text[3:].lstrip()[1:].strip()
    if not operator:
        return ram
    numerator, denominator = _number(operand)
    if operator == "*":
        return ram * numerator // denominator
    if operator == "/" and numerator:
        return ram * denominator // numerator
    raise ValueError(text)


def parse(text: str, ram: int | None = None) -> int:
    """Bytes of a size as a user writes it, for example ``parse("1.5G") == 1610612736``.

    A number with mkswap's suffixes (K, KiB = 1024, KB = 1000, up to E, in any case), or a share of the
    memory `ram` (bytes; default: this machine's): ``ram``, ``50%``, ``ram*2``, ``ram/2``,
    ``min(ram/2, 16G)``. Raises `SizeError` for anything else, and for what no u64 holds.
    """
    if ram is None:
        ram = ram_bytes()
    stripped = text.strip()
    try:
        if len(stripped) > _MAX_TEXT:
            raise ValueError(text)
        if stripped[:4].lower() == "min(" and stripped.endswith(")"):
            size = min(_term(term, ram) for term in stripped[4:-1].split(","))
        else:
            size = _term(stripped, ram)
    except ValueError:
        raise SizeError(
            f"invalid size {text[:_MAX_TEXT]!r}",
            hint="write for example 64M, 1.5G, 16GiB, 50%, ram/2 or 'min(ram/2, 16G)'",
        ) from None
    if size >= 2**64:
        raise SizeError(f"size {text!r} is too large")
    return size


def to_pages(size: int, page_size: int) -> int:
    """Whole pages, header page included, in an area of `size` bytes.

    Raises `SizeError` below `MIN_PAGES` and above `MAX_PAGES`.
    """
    pages = size // page_size
    if pages < MIN_PAGES:
        least = MIN_PAGES * page_size
        raise SizeError(f"size of {size} bytes is too small: a swap area needs at least {least >> 10} KiB")
    if pages > MAX_PAGES:
        raise SizeError(
            f"size of {size} bytes is too large: a swap header declares at most {MAX_PAGES} pages "
            f"({MAX_PAGES * page_size} bytes with pages of {page_size})"
        )
    return pages


def human(size: int, space: str = "", unit: str = "") -> str:
    """A size in bytes for people, with at most one decimal, as util-linux prints it: ``64M``, ``1.5G``.

    `space` comes before the suffix and `unit` after it: ``human(n, " ", "iB")`` is "1.5 GiB". Bytes have
    the unit ``B`` alone.
    """
    exponent = max(0, min((size.bit_length() - 1) // 10, len(_SUFFIXES)))
    if exponent == 0:
        return f"{size}{space}{'bytes' if space else 'B'}"
    shift = 10 * exponent
    whole = size >> shift
    tenths = ((size & ((1 << shift) - 1)) * 1000 >> shift) + 50
    tenths //= 100
    if tenths == 10:
        whole, tenths = whole + 1, 0
    return f"{whole}{f'.{tenths}' if tenths else ''}{space}{_SUFFIXES[exponent - 1]}{unit}"
