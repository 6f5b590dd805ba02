# SPDX-License-Identifier: GPL-2.0-or-later
"""Fills so many MiB of memory, a third of each page with noise, then looks whether every page is as it was.

Prints a line when the memory is full, waits for the end of its input, prints "intact".
"""

from __future__ import annotations

import mmap
import random
import sys
from collections.abc import Iterator


def pages(size: int) -> Iterator[tuple[slice, bytes]]:
    noise = random.Random(size)
    for start in range(0, size, 4096):
        yield slice(start, start + 4096), noise.randbytes(1300) + b"ghost swap " * 254 + b"ok"


def main(size: int) -> None:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for place, content in pages(size):
        memory[place] = content
    print("ready", flush=True)
    sys.stdin.read()
    for place, content in pages(size):
        assert memory[place] == content
    print("intact", flush=True)


main(int(sys.argv[1]) << 20)
