# SPDX-License-Identifier: GPL-2.0-or-later
"""Labels and UUIDs as users write them -> bytes of a header."""

from __future__ import annotations

from . import report, sizes
from .errors import UsageError


def parse_label(text: str) -> bytes:
    """A label of at most 15 bytes of UTF-8; a longer one is cut at a character, with a warning."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"label '{text}' is not UTF-8") from None
    if not decoded.isprintable():
        raise UsageError(f"label '{text}' has unprintable characters")
    if len(data) <= sizes.LABEL_BYTES:
        return data
    cut = data[: sizes.LABEL_BYTES].decode("utf-8", "ignore")
    report.warn(None, f"label was truncated to {cut!r}")
    return cut.encode()


def parse_uuid(text: str) -> bytes:
    """16 bytes from a UUID or one of clear, random, time."""
    import uuid

    if text == "clear":
        return bytes(16)
    if text == "random":
        return uuid.uuid4().bytes
    if text == "time":
        return uuid.uuid1().bytes
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != text.lower():
        raise UsageError(
            f"invalid UUID {text!r}", hint="write 8-4-4-4-12 hexadecimal digits, or clear, random, time"
        )
    return parsed.bytes
