# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine short of memory, with each kind of swap, in a guest of its own (tests/vm/README)."""

from __future__ import annotations

import json
import shlex
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from measure import machine, markdown, write_section

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from vm import inside, lab

GHOSTCTL = Path(sys.executable).with_name("ghostctl")
MEMORY_MIB = 128
HOG_MIB = 160
NOISE = 1000
AREA_MIB = 256
FITS_MIB = 70
LIMIT = 120
GIB = {"6.12": (1, 16, 64, 256, 512), "7.2": (1, 16, 64, 256, 512, 1024, 4096, 16383)}
"""What is declared to see what slots cost; on 6.12, swapon(2) of more than that is killed or refused."""


class Case(NamedTuple):
    """A set-up. Sizes in MiB, 0 for none; zswap is on when it has a compressor."""

    title: str
    ghost: int = 0
    real: int = 0
    zram: int = 0
    percent: int = 20
    compressor: str = ""
    prio: bool = True
    """Whether the areas have priorities, the ghost the higher one."""
    backend: str = ""
    """What ghostctl makes the ghost active with; else swapon(8) of the file."""


CASES = (
    Case("zram, lz4", zram=AREA_MIB),
    Case("ghost by zram, lz4", AREA_MIB, backend="zram"),
    *(
        Case(f"ghost, {compressor}, pool {percent} %", AREA_MIB, percent=percent, compressor=compressor)
        for compressor, percent in (("lz4", 20), ("lz4", 50), ("zstd", 50))
    ),
    Case(f"ghost of {FITS_MIB} MiB above a real file, lz4, pool 20 %", FITS_MIB, AREA_MIB, compressor="lz4"),
    Case("ghost above a real file, lz4, pool 20 %", AREA_MIB, AREA_MIB, compressor="lz4"),
    Case("the same, both without a priority", AREA_MIB, AREA_MIB, compressor="lz4", prio=False),
    Case("real file, zswap lz4, pool 20 %", real=AREA_MIB, compressor="lz4"),
    Case("real file, no zswap", real=AREA_MIB),
    Case("no swap"),
)


class Outcome(NamedTuple):
    """What became of the workload; sizes in MiB."""

    end: str
    seconds: float
    written: int
    disk: int
    pool: int
    swap_free: int
    """SwapFree at the time of the largest pool."""


def set_up(case: Case) -> None:
    """Areas and zswap in this guest."""
    if case.compressor:
        inside.set_zswap(compressor=case.compressor, percent=case.percent)
    if case.zram:
        block = Path("/sys/block/zram0")
        (block / "comp_algorithm").write_text("lz4")
        (block / "disksize").write_text(f"{case.zram}M")
        inside.must("mkswap", "/dev/zram0")
        inside.must("/sbin/swapon", "/dev/zram0")
    if case.backend:
        ghost = inside.DIR / "ghost"
        inside.must(GHOSTCTL, "mkghost", "-s", f"{case.ghost}M", ghost)
        inside.must(GHOSTCTL, "on", "--backend", case.backend, "--compressor", "lz4", "-p", "10", ghost)
    elif case.ghost:
        ghost = inside.write_area(inside.DIR / "ghost", case.ghost * 256 - 1)
        inside.must("/sbin/swapon", *(("-p", "10") if case.prio else ()), ghost)
    if case.real:
        real = inside.make_file(inside.DIR / "real", case.real)
        inside.must("/sbin/swapon", *(("-p", "1") if case.prio else ()), real)
    inside.must("sync")


def _written_mib() -> int:
    return int(Path("/sys/block/vda/stat").read_text().split()[6]) >> 11


def _pool_mib(case: Case) -> int:
    if case.zram or case.backend:
        devices = Path("/sys/block").glob("zram*/mm_stat")
        return sum(int(device.read_text().split()[2]) for device in devices) >> 20
    return inside.counters("/proc/meminfo").get("Zswap", 0) >> 10


def measure_case(case: Case) -> Outcome:
    """Runs the workload in this guest, which is set up for it."""
    set_up(case)
    disk = sum(path.stat().st_blocks for path in inside.DIR.iterdir()) >> 11
    before, peak, running = _written_mib(), (0, 0), True

    def watch() -> None:
        nonlocal peak
        while running:
            peak = max(peak, (_pool_mib(case), -(inside.counters("/proc/meminfo")["SwapFree"] >> 10)))
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.monotonic()
    hog = inside.Hog(HOG_MIB, NOISE)
    end = hog.fill(LIMIT)
    if end == "filled":
        wrong = hog.check(LIMIT - (time.monotonic() - start))
        end = "killed" if wrong is None else "survived" if wrong == 0 else f"{wrong} wrong pages"
    seconds = time.monotonic() - start
    running = False
    watcher.join()
    return Outcome(
        "no progress" if seconds >= LIMIT else end, seconds, _written_mib() - before, disk, peak[0], -peak[1]
    )


def measure_slots(series: str) -> list[tuple[int, float, float]]:
    """Kernel memory in MiB, and seconds, that swapon takes for ghosts of so many GiB."""
    found = []
    for gib in GIB[series]:
        path = inside.write_area(inside.DIR / "ghost", (gib << 18) - 1)
        before, start = inside.counters("/proc/meminfo")["MemFree"], time.monotonic()
        inside.swapon(path)
        seconds = time.monotonic() - start
        took = (before - inside.counters("/proc/meminfo")["MemFree"]) / 1024
        found.append((gib, took, seconds))
        inside.swapoff(path)
    return found


def in_guest(series: str, what: str, memory_mib: int) -> str | None:
    """The JSON that this program prints in a new guest; None when the guest came to no end."""
    command = shlex.join(["choom", "-n", "-1000", "--", sys.executable, __file__, series, what])
    booted = lab.boot(f"ghost-{series}", command, cpus=2, memory_mib=memory_mib, timeout=4 * LIMIT)
    if booted.status not in (0, None):
        sys.exit(f"{what}: {booted.output}")
    return booted.output.splitlines()[-1] if booted.status == 0 else None


def main() -> None:
    """On the host: a guest for each case and kernel, those of a case side by side; then the tables."""
    lab.build(lab.KERNELS)
    every = [series for series in lab.SERIES if lab.lack(series) is None]
    outcomes: dict[str, list[Outcome]] = {series: [] for series in every}
    with ThreadPoolExecutor() as pool:
        for number, case in enumerate(CASES):
            texts = pool.map(lambda series, what=str(number): in_guest(series, what, MEMORY_MIB), every)
            for series, text in zip(every, texts, strict=True):
                outcome = Outcome(*json.loads(text)) if text else Outcome("guest hung", 4 * LIMIT, 0, 0, 0, 0)
                outcomes[series].append(outcome)
                print(case.title, series, outcome, flush=True)
    write_report(outcomes, {series: json.loads(in_guest(series, "slots", 1024) or "[]") for series in every})


def write_report(
    outcomes: dict[str, list[Outcome]], slots: dict[str, list[tuple[int, float, float]]]
) -> None:
    """The section in docs/BENCHMARKS.md."""
    rows = []
    for number, case in enumerate(CASES):
        row: list[str | int] = [case.title]
        for of_series in outcomes.values():
            outcome = of_series[number]
            ratio = f"{outcome.seconds / of_series[0].seconds:.2f}" if outcome.end == "survived" else ""
            row += [
                outcome.end,
                ratio,
                outcome.written,
                outcome.pool,
                outcome.swap_free if outcome.pool else "",
            ]
        rows.append([*row, max(of_series[number].disk for of_series in outcomes.values())])
    headings = [f"{series}: {heading}" for series in outcomes for heading in HEADINGS]
    found = {series: {gib: rest for gib, *rest in of_series} for series, of_series in slots.items()}
    costs = []
    for gib in sorted({gib for of_series in found.values() for gib in of_series}):
        cells = [found[series].get(gib) for series in found]
        costs.append([gib, *(text for cell in cells for text in _cost(gib, cell))])
    cost_headings = [f"{series}: {heading}" for series in found for heading in ("MiB", "KiB per GiB", "ms")]
    text = TEXT.format(
        machine=machine(),
        accelerator=lab.accelerator().upper(),
        outcomes=markdown(("set-up", *headings, "MiB of disk taken"), rows),
        costs=markdown(("GiB declared", *cost_headings), costs),
    )
    write_section("Under memory pressure", text)


def _cost(gib: int, cell: list[float] | None) -> tuple[str, str, str]:
    if cell is None:
        return "", "", ""
    mib, seconds = cell
    return f"{mib:.1f}", f"{mib * 1024 / gib:.0f}", f"{seconds * 1000:.0f}"


HEADINGS = ("end", "time, zram = 1", "MiB written", "peak pool, MiB", "SwapFree then, MiB")

TEXT = f"""{{machine}}; in guests of {MEMORY_MIB} MiB ({{accelerator}}), Linux 6.12 and 7.2,
each with its ghost.patch of tests/vm/kernel. A program fills {HOG_MIB} MiB of pages, which lz4 makes
3.7 times smaller, and reads every byte back; an area has {AREA_MIB} MiB where no size is said. One run
each, {LIMIT} s at most, both kernels at the same time: `make bench-vm`. Times of one run on an emulated
processor are rough.

{{outcomes}}

Kernel memory that swapon takes for the slots of a ghost, at once; on Linux 6.12 more is refused or killed:

{{costs}}

What follows for an administrator:

1. The pool limit is the real size of a ghost. With the default of 20 % the pool fills while SwapFree still
   promises room, and then nothing goes on: set max_pool_percent first.
2. Declare no more than the pool may take. Slots that run out pass pages on to the next area, a full pool
   does not.
3. With a pool that fits, a ghost does what zram does: nothing is written, and it takes one page of disk.
4. Never put a ghost that is larger than its pool above a real area, or beside one of the same priority: the
   real one stays unused. Areas without a priority all have the same on Linux 7.2, and on 6.12 the first one
   comes first.
5. Slots are not free on Linux 6.12: 0.6 to 1 MiB of kernel memory per GiB, at swapon, used or not. On 7.2
   it is 24 KiB.
"""


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[2] == "slots":
        print(json.dumps(measure_slots(sys.argv[1])))
    else:
        print(json.dumps(measure_case(CASES[int(sys.argv[2])])))
