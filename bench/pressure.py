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
    """What ghostctl makes the ghost active with, on a stock kernel; else swapon(8) of the file."""
    limit: int = 0
    """Memory limit of zram."""
    loop: int = 0
    """A loop device over a sparse file, whose freed slots are discarded."""


CASES = (
    Case("zram, lz4", zram=AREA_MIB),
    Case("ghost by zram, lz4", AREA_MIB, backend="zram"),
    Case("the same, memory limit 20 %", AREA_MIB, backend="zram", limit=MEMORY_MIB // 5),
    *(
        Case(
            f"ghost{by}, {compressor}, pool {percent} %",
            AREA_MIB,
            percent=percent,
            compressor=compressor,
            backend=backend,
        )
        for by, backend in (("", ""), (" by dm", "dm"))
        for compressor, percent in (("lz4", 20), ("lz4", 50), ("zstd", 50))
    ),
    *(
        Case(
            f"{title} above a real file, lz4, pool 20 %",
            FITS_MIB,
            AREA_MIB,
            compressor="lz4",
            backend=backend,
        )
        for title, backend in ((f"ghost of {FITS_MIB} MiB", ""), ("the same by dm", "dm"))
    ),
    Case("ghost above a real file, lz4, pool 20 %", AREA_MIB, AREA_MIB, compressor="lz4"),
    Case("the same, both without a priority", AREA_MIB, AREA_MIB, compressor="lz4", prio=False),
    *(
        Case(
            f"loop device over a sparse file, zswap lz4, pool {percent} %",
            loop=AREA_MIB,
            percent=percent,
            compressor="lz4",
        )
        for percent in (20, 50)
    ),
    Case("real file, zswap lz4, pool 20 %", real=AREA_MIB, compressor="lz4"),
    Case("real file, no zswap", real=AREA_MIB),
    Case("no swap"),
)

CHARGED = tuple(
    case for case in CASES if case.percent == 50 or case.zram or case.title == "real file, no zswap"
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
        limit = ("--memory-limit", f"{case.limit}M") if case.limit else ()
        options = ("--backend", case.backend, "--compressor", "lz4", *limit, "-p", "10")
        inside.must(GHOSTCTL, "on", *options, ghost)
    elif case.ghost:
        ghost = inside.write_area(inside.DIR / "ghost", case.ghost * 256 - 1)
        inside.must("/sbin/swapon", *(("-p", "10") if case.prio else ()), ghost)
    if case.real:
        real = inside.make_file(inside.DIR / "real", case.real)
        inside.must("/sbin/swapon", *(("-p", "1") if case.prio else ()), real)
    if case.loop:
        sparse = inside.DIR / "sparse"
        inside.must("truncate", "-s", f"{case.loop}M", sparse)
        inside.must("mkswap", sparse)
        device = inside.must("losetup", "--find", "--show", sparse).strip()
        inside.must("/sbin/swapon", "--discard", device)
    inside.must("sync")


def _pool_mib(case: Case) -> int:
    if case.zram or case.backend == "zram":
        devices = Path("/sys/block").glob("zram*/mm_stat")
        return sum(int(device.read_text().split()[2]) for device in devices) >> 20
    return inside.counters("/proc/meminfo").get("Zswap", 0) >> 10


def measure_case(case: Case) -> Outcome:
    """Runs the workload in this guest, which is set up for it."""
    set_up(case)
    disk = sum(path.stat().st_blocks for path in inside.DIR.iterdir()) >> 11
    before, peak, running = inside.written_mib(), (0, 0), True

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
        "no progress" if seconds >= LIMIT else end,
        seconds,
        inside.written_mib() - before,
        disk,
        peak[0],
        -peak[1],
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


class Charged(NamedTuple):
    """What pages take that a cgroup has swapped out, in MiB."""

    swapped: int
    cgroup: int
    """Memory that is charged to the cgroup."""
    pool: int
    """Memory of the pool that they are in."""
    written: int
    """To the disk."""


def measure_charge(case: Case) -> Charged:
    """What is charged for pages that a limit of memory has made a cgroup swap out."""
    set_up(case)
    before = inside.written_mib()
    with inside.Cgroup("box", max=f"{HOG_MIB * 2 // 5}M") as box:
        hog = box.hog(HOG_MIB, NOISE)
        end = hog.fill()
        assert end == "filled", end
        charged = inside.counters(str(box.path / "memory.stat")).get("zswap", 0)
        swapped = int((box.path / "memory.swap.current").read_text())
        found = Charged(swapped >> 20, charged >> 20, _pool_mib(case), inside.written_mib() - before)
        hog.end()
    return found


def in_guest(kernel: str, what: str, memory_mib: int) -> str | None:
    """The JSON that this program prints in a new guest; None when the guest came to no end."""
    command = shlex.join(["choom", "-n", "-1000", "--", sys.executable, __file__, kernel, what])
    booted = lab.boot(kernel, command, cpus=2, memory_mib=memory_mib, timeout=4 * LIMIT)
    if booted.status not in (0, None):
        sys.exit(f"{what}: {booted.output}")
    return booted.output.splitlines()[-1] if booted.status == 0 else None


def main() -> None:
    """On the host: a guest for each case and kernel, those of a case side by side; then the tables."""
    lab.build(lab.KERNELS)
    every = [series for series in lab.SERIES if lab.lack(series) is None]
    outcomes: dict[str, list[Outcome]] = {series: [] for series in every}
    charges: dict[str, list[Charged]] = {series: [] for series in every}
    with ThreadPoolExecutor() as pool:
        for number, case in enumerate(CASES):
            kernels = [f"{'stock' if case.backend else 'ghost'}-{series}" for series in every]
            texts = pool.map(lambda kernel, what=str(number): in_guest(kernel, what, MEMORY_MIB), kernels)
            for series, text in zip(every, texts, strict=True):
                outcome = Outcome(*json.loads(text)) if text else Outcome("guest hung", 4 * LIMIT, 0, 0, 0, 0)
                outcomes[series].append(outcome)
                print(case.title, series, outcome, flush=True)
            if case not in CHARGED:
                continue
            texts = pool.map(lambda kernel, what=f"charge-{number}": in_guest(kernel, what, 512), kernels)
            for series, text in zip(every, texts, strict=True):
                charges[series].append(Charged(*json.loads(text or "[0, 0, 0, 0]")))
                print(case.title, series, charges[series][-1], flush=True)
    slots = {series: json.loads(in_guest(f"ghost-{series}", "slots", 1024) or "[]") for series in every}
    write_report(outcomes, charges, slots)


def write_report(
    outcomes: dict[str, list[Outcome]],
    charges: dict[str, list[Charged]],
    slots: dict[str, list[tuple[int, float, float]]],
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
    charged_headings = [
        f"{series}: {heading}" for series in charges for heading in ("swapped", "charged", "pool", "written")
    ]
    charged = [
        [case.title, *(number for of_series in charges.values() for number in of_series[n])]
        for n, case in enumerate(CHARGED)
    ]
    text = TEXT.format(
        machine=machine(),
        accelerator=lab.accelerator().upper(),
        outcomes=markdown(("set-up", *headings, "MiB of disk taken"), rows),
        charged=markdown(("set-up", *charged_headings), charged),
        costs=markdown(("GiB declared", *cost_headings), costs),
    )
    write_section("Under memory pressure", text)


def _cost(gib: int, cell: list[float] | None) -> tuple[str, str, str]:
    if cell is None:
        return "", "", ""
    mib, seconds = cell
    return f"{mib:.1f}", f"{mib * 1024 / gib:.0f}", f"{seconds * 1000:.0f}"


HEADINGS = ("end", "time, zram = 1", "MiB written", "peak pool, MiB", "SwapFree then, MiB")

TEXT = f"""{{machine}};
in guests of {MEMORY_MIB} MiB ({{accelerator}}), Linux 6.12 and 7.2, with its ghost.patch of
tests/vm/kernel, but for what is "by zram" and "by dm", on stock kernels. A program fills {HOG_MIB} MiB of
pages, which lz4 makes 3.7 times smaller, and reads every byte back; an area has
{AREA_MIB} MiB where no size is said. One run each, {LIMIT} s at most,
both kernels at the same time: `make bench-vm`. Times of one run on an emulated processor are rough.

{{outcomes}}

Memory that pages take which a cgroup has swapped out, and who is charged for it, in MiB: the same program in
a cgroup of {HOG_MIB * 2 // 5} MiB, in a guest of 512 MiB, once it has filled its memory:

{{charged}}

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
        print(json.dumps(measure_slots(lab.split(sys.argv[1])[1])))
    elif sys.argv[2].startswith("charge-"):
        print(json.dumps(measure_charge(CASES[int(sys.argv[2].removeprefix("charge-"))])))
    else:
        print(json.dumps(measure_case(CASES[int(sys.argv[2])])))
