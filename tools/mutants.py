#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts small faults into a copy of src/, one at a time, and says which of them the fast tests notice.

    tools/mutants.py                                400 faults of the default modules, the same ones each time
    tools/mutants.py --module swaps --sample 0      all of one module
    tools/mutants.py --list --module rundir         what they are
    tools/mutants.py --tree DIRECTORY               another checkout, tested with this one's environment

Needs root, for mounts that only the tests see: in them the copy is in place of the checkout, /etc and /sys
are read-only, /run/ghostctl is empty, and swapon(2) and swapoff(2) fail. Modules that do little else than
those two system calls have the tests of active areas, too, and /sys, one fault at a time: what a fault leaves
active is taken down after it. No other program should use swap areas or zram then.

First the tests run twice without a fault: with marks in the modules, to know which test comes to which
statement, and without, to know which of them pass. Then each fault has the tests that come to its statement,
those first that are most likely to notice, up to the first failure or for --seconds. Exit status 1: a module
has less than 90 % noticed, not counting the faults in tools/mutants.accepted, whose lines are

    module: line of the source: kind: why nothing differs
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from itertools import accumulate, count
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import mutate
from faults import state
from mutate import Mutant

HERE = Path(__file__).resolve().parent
PACKAGE = "ghostctl"
MODULES = ["header", "swaps", "areas", "atomic", "ghostfile", "ghostwrite", "lookup", "activation"]
MODULES += ["deactivation", "resize", "signals", "rundir", "backends/zram"]
MODULES += ["fstab", "generator", "bootcheck", "capacity", "plan", "zswap", "doctor", "cli/on"]
ON_AREAS = {"areas", "activation", "deactivation", "declared", "resize", "backends/zram"}
"""Modules that do little without active areas."""
SLOW = {"vm", "live", "lint", "docs", "faults", "golden", "differential"}
"""Folders of tests that are not the fast ones, those of `make test-fast`."""
NOTICED = 0.9
LIMIT = 60
"""Seconds for the tests of one fault, and more when they take more than a quarter of that without it."""
AT_ONCE = 30
"""How many tests the first try has: only their files have to be imported."""


class Run(NamedTuple):
    """What came of some tests."""

    passed: bool
    why: str
    """The first test that failed, or what else ended it."""
    tests: dict[str, tuple[str, float, list[int]]]
    """For each test how it ended, how many seconds it took, and the marks that it came to."""


# The workers


def work(directory: Path, repository: Path, live: bool) -> NoReturn:
    """Runs the tests for each request on standard input, in a fork that has no part of the program yet."""
    _set_up(directory, repository, live)
    _import_tools()
    before = _Kernel.now() if live else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    # what tests leave running becomes a child of this process
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _answer(directory, repository, request)
        finally:
            if before is not None:
                before.put_back()
        print(json.dumps(answer), flush=True)
    os._exit(0)


class _Kernel(NamedTuple):
    """What the tests of active areas change in the kernel, and a fault may leave changed."""

    areas: set[str]
    devices: set[int]
    """Of zram."""
    zswap: dict[str, str]

    @classmethod
    def now(cls) -> _Kernel:
        return cls(set(state.read_swaps()), set(state.zram_numbers()), state.read_zswap())

    def put_back(self) -> None:
        """Raises `OSError` when it cannot: what comes then would say nothing."""
        deadline = time.monotonic() + 20
        while (now := self.now()) != self:
            if time.monotonic() > deadline:
                raise OSError(f"cannot be put back: {now}, not {self}")
            self._put_back(now)
            # what another program is just looking at goes a moment later
            time.sleep(0.1)

    def _put_back(self, now: _Kernel) -> None:
        control = Path("/sys/class/zram-control")
        for name in now.areas - self.areas:
            # a device may have been made active in another mount namespace, as /zram1
            for path in (name.removesuffix(" (deleted)"), f"/dev{name}"):
                subprocess.run(["swapoff", "--", path], check=False, stderr=subprocess.DEVNULL)
        for number in now.devices - self.devices:
            with suppress(OSError):
                (control / "hot_remove").write_text(str(number))
        for _ in self.devices - now.devices:
            (control / "hot_add").read_text()
        for name, value in self.zswap.items():
            if now.zswap[name] != value:
                (state.ZSWAP / name).write_text(value)


def _set_up(directory: Path, repository: Path, live: bool) -> None:
    def mount(*args: str | Path) -> None:
        subprocess.run(["mount", *args], check=True)

    tree, environment = directory.parent / "tree", Path(sys.prefix)
    if environment.is_relative_to(repository):
        mount("--bind", environment, tree / environment.relative_to(repository))
    mount("--rbind", tree, repository)
    mount("--bind", directory / "src", repository / "src")
    mount("--bind", "/etc", "/etc")
    mount("-o", "remount,bind,ro", "/etc")
    if not live:
        mount("-o", "remount,bind,ro", "/sys")
    os.chdir(repository)
    os.environ["TMPDIR"] = str(directory)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ.pop("PYTHONPATH", None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))


def _import_tools() -> None:
    for name in ("pytest", "hypothesis", "hypothesis.strategies", "_hypothesis_pytestplugin", "jsonschema"):
        with suppress(ImportError):
            importlib.import_module(name)
    for name in ("click", "construct", "ctypes", "json", "psutil", "pyudev", "subprocess", "uuid"):
        with suppress(ImportError):
            importlib.import_module(name)
    assert PACKAGE not in sys.modules


_TIMES = count()


def _answer(directory: Path, repository: Path, request: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, str] = request["sources"]
    for name, source in changed.items():
        path = repository / "src" / PACKAGE / name
        path.write_text(source)
        # another time than that of any compiled one: a program that a test starts may leave one behind
        time_of_it = next(_TIMES)
        os.utime(path, (time_of_it, time_of_it))
    try:
        return _fork(directory, request)
    finally:
        for name in changed:
            path, original = repository / "src" / PACKAGE / name, directory.parent / "src" / PACKAGE / name
            if original.exists():
                shutil.copy2(original, path)
            else:
                path.unlink()


def _fork(directory: Path, request: dict[str, Any]) -> dict[str, Any]:
    result = directory / "result"
    result.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        _test(directory, request, result)
    ended = False
    try:
        process = os.pidfd_open(pid)
        ended = bool(select.select([process], [], [], request["limit"])[0])
        os.close(process)
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
        _reap()
    if not ended:
        _detach(directory)
        return {"passed": False, "why": "timeout", "tests": {}}
    try:
        answer: dict[str, Any] = json.loads(result.read_text())
    except (FileNotFoundError, ValueError):
        log = (directory / "log").read_text(errors="replace").strip().splitlines()
        return {"passed": False, "why": f"the tests ended: {log[-1] if log else ''}", "tests": {}}
    return answer


def _reap() -> None:
    """Ends every descendant and waits for it."""
    while True:
        children = Path("/proc/thread-self/children").read_text().split()
        with suppress(ProcessLookupError):
            for child in children:
                os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _detach(directory: Path) -> None:
    """Detaches the loop devices of tests that were killed: those of their mounts are gone with them."""
    command = ["losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]
    for line in subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines():
        device, _, file = line.partition(" ")
        if file.startswith(f"{directory}/"):
            subprocess.run(["losetup", "--detach", device], check=False)


def _test(directory: Path, request: dict[str, Any], result: Path) -> NoReturn:
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for fd, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(fd, target)
        libc = ctypes.CDLL(None, use_errno=True)
        empty = (b"mutants", b"/run/ghostctl", b"tmpfs", 0, b"mode=700")
        if libc.unshare(0x20000) or libc.mount(*empty):  # CLONE_NEWNS
            raise OSError(ctypes.get_errno(), "no mounts of its own")
        import pytest

        sys.dont_write_bytecode = not request["compile"]
        plugin = _Plugin(request["tests"], request["marks"])
        args = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header", "--tb=line"]
        args += [f"--basetemp={directory}/t", *(["-x"] if request["stop"] else []), *request["files"]]
        status = pytest.main(args, plugins=[plugin])
        first = plugin.failed or f"pytest has status {int(status)}"
        answer = {"passed": status == 0, "why": first, "tests": plugin.tests}
        result.write_text(json.dumps(answer))
    finally:
        sys.stdout.flush()
        os._exit(0)


class _Plugin:
    """Chooses and orders the tests, and notes how each ends and what it comes to."""

    def __init__(self, chosen: list[str], marks: str | None) -> None:
        self.order = {test: number for number, test in enumerate(chosen)}
        self.tests: dict[str, list[Any]] = {}
        self.failed: str | None = None
        self.marks = None
        if marks:
            import mmap

            with open(marks, "r+b") as file:
                self.marks = mmap.mmap(file.fileno(), 0)

    def pytest_configure(self) -> None:
        import hypothesis

        # the same examples each time
        profile = hypothesis.settings(deadline=None, derandomize=True, database=None)
        hypothesis.settings.register_profile("mutants", profile)
        hypothesis.settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.order:
            items[:] = sorted(
                (item for item in items if item.nodeid in self.order),
                key=lambda item: self.order[item.nodeid],
            )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.tests[nodeid] = ["passed", 0.0, []]
        if self.marks is not None:
            _forget()
            self.marks[:] = bytes(len(self.marks))

    def pytest_runtest_logreport(self, report: Any) -> None:
        test = self.tests[report.nodeid]
        test[1] += report.duration
        if report.outcome == "failed":
            test[0] = "failed"
            self.failed = self.failed or report.nodeid
        elif report.outcome == "skipped" and test[0] == "passed":
            test[0] = "skipped"

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if self.marks is not None:
            data = self.marks[:]
            self.tests[nodeid][2] = [number for number, reached in enumerate(data) if reached]


def _forget() -> None:
    """Empties the caches of the program, so that every test comes to what it needs."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == PACKAGE:
            for value in list(vars(module).values()):
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()


# The one that gives them their work


class Worker:
    """A process with mounts of its own."""

    def __init__(self, name: str, base: Path, repository: Path, live: bool) -> None:
        self.directory = base / name
        self.directory.mkdir()
        shutil.copytree(base / "src", self.directory / "src")
        compiler = [sys.executable, "-m", "compileall", "-q", "src"]
        subprocess.run(compiler, cwd=self.directory, check=False)
        command = [] if live else [sys.executable, "-IS", str(HERE.parent / "tests" / "refuse.py")]
        command += ["unshare", "--mount", "--propagation", "private", sys.executable]
        command += [str(HERE / "mutants.py"), "--worker", str(self.directory), str(repository)]
        self.process = subprocess.Popen(
            [*command, *(["live"] if live else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ask(
        self,
        files: Iterable[str],
        sources: dict[str, str],
        tests: Sequence[str] = (),
        limit: float = 900,
        marks: Path | None = None,
        stop: bool = False,
    ) -> None:
        """Begins to run tests, with these sources in place of those that are there."""
        request = {
            "files": list(files),
            "sources": sources,
            "tests": list(tests),
            "limit": limit,
            "marks": str(marks) if marks else None,
            "stop": stop,
            "compile": not stop,
        }
        stdin = cast("IO[str]", self.process.stdin)
        stdin.write(f"{json.dumps(request)}\n")
        stdin.flush()

    def answer(self) -> Run:
        line = cast("IO[str]", self.process.stdout).readline()
        if not line:
            raise SystemExit("mutants: a worker has died")
        return Run(**json.loads(line))

    def end(self) -> None:
        cast("IO[str]", self.process.stdin).close()
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def copy(tree: Path, base: Path) -> None:
    """Makes the tree that the tests see, and its src/ once more."""
    command = ["git", "-C", str(tree), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (tree / name).is_file() or (tree / name).is_symlink():
            (base / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / name, base / "tree" / name, follow_symlinks=False)
    shutil.copytree(base / "tree" / "src", base / "src")


def fast_tests(tree: Path, live: bool) -> list[str]:
    found = (str(path.relative_to(tree)) for path in (tree / "tests").rglob("test_*.py"))
    slow = SLOW - {"live"} if live else SLOW
    return sorted(name for name in found if not set(Path(name).parts[1:-1]) & slow)


class Knowledge:
    """Which tests come to which statements, how long they take, and which have noticed something."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.reached: dict[str, dict[int, set[str]]] = {module: defaultdict(set) for module in modules}
        """For each module and line the tests that come to it, after import."""
        self.at_import: dict[str, set[int]] = {module: set() for module in modules}
        self.seconds: dict[str, float] = {}
        self.noticed: dict[str, Counter[str]] = {module: Counter() for module in modules}

    def tests(self, mutant: Mutant, seconds: float) -> list[str]:
        """Those that may notice a fault, the likely ones first; only so many seconds of them."""
        reached = self.reached[mutant.module]
        names = reached[mutant.statement]
        at_import = mutant.statement in self.at_import[mutant.module]
        if at_import:
            names = set[str]().union(*reached.values())
        name = Path(mutant.module).stem
        noticed = self.noticed[mutant.module]

        def likely(test: str) -> tuple[float, ...]:
            named, unit = name in test.partition("::")[0], "/unit/" in test
            # constants are checked by the unit tests
            first = (not unit, not named) if at_import else (not named, not unit)
            return -min(noticed[test], 3), *first, self.seconds[test]

        tests = sorted(names & self.seconds.keys(), key=likely)
        used = list(accumulate(self.seconds[test] for test in tests))
        return tests[: max(AT_ONCE, bisect(used, seconds))] if seconds else tests


def learn(workers: list[Worker], base: Path, modules: Sequence[str], files: list[str]) -> Knowledge:
    """Runs all tests twice without a fault."""
    numbers = count()
    marked = {}
    for module in modules:
        source = (base / "src" / PACKAGE / f"{module}.py").read_text()
        marked[module] = mutate.mark(source, PACKAGE, numbers)
    total = next(numbers)
    sources = {f"{module}.py": mark.source for module, mark in marked.items()}
    knowledge = Knowledge(modules)
    shares = [files[number :: len(workers)] for number in range(len(workers))]
    for worker, share in zip(workers, shares, strict=True):
        marks = worker.directory / "marks"
        marks.write_bytes(bytes(total))
        marks.chmod(0o666)
        worker.ask(share, {**sources, "_reached.py": _MARKS.format(path=str(marks))}, marks=marks)
    with_marks = [worker.answer() for worker in workers]
    # each has the other's, so that no test needs what was left by itself
    for worker, share in zip(workers, reversed(shares), strict=True):
        worker.ask(share, {})
    plain = [worker.answer() for worker in workers]
    ended = {test: how for run in plain for test, how in run.tests.items()}
    if not ended:
        raise SystemExit(f"mutants: no test runs: {plain[0].why}")
    for test, (outcome, seconds, _) in sorted(ended.items()):
        if outcome == "failed":
            print(f"fails without a fault, left out: {test}")
        elif outcome == "passed":
            knowledge.seconds[test] = seconds
    where = {n: (module, line) for module, mark in marked.items() for n, line in mark.lines.items()}
    inside = set().union(*(mark.in_function for mark in marked.values()))
    for number, (module, line) in where.items():
        if number not in inside:
            knowledge.at_import[module].add(line)
    for run in with_marks:
        for test, (outcome, _, reached) in run.tests.items():
            # one that fails because of the marks may come to everything
            for number in reached if outcome != "failed" else where:
                if number in inside:
                    module, line = where[number]
                    knowledge.reached[module][line].add(test)
    return knowledge


_MARKS = """import mmap
try:
    with open({path!r}, "r+b") as file:
        MARKS = mmap.mmap(file.fileno(), 0)
except OSError:
    MARKS = {{}}
"""


class Verdict(NamedTuple):
    """What came of a fault."""

    mutant: Mutant
    noticed: bool
    why: str
    seconds: float

    def __str__(self) -> str:
        word = "killed" if self.noticed else "SURVIVED"
        place = f"src/{PACKAGE}/{self.mutant.module}.py:{self.mutant.line}"
        return f"{word} {place}: {self.mutant} ({self.why}, {self.seconds:.1f} s)"


class _Job(NamedTuple):
    mutant: Mutant
    tests: list[str]
    later: list[str]
    tried: int
    begun: float


def try_all(
    workers: list[Worker], base: Path, mutants: list[Mutant], knowledge: Knowledge, seconds: float
) -> Iterable[Verdict]:
    """Tries each fault, several at the same time."""
    waiting = mutants[::-1]
    idle = list(workers)
    busy: dict[IO[str], tuple[Worker, _Job]] = {}

    def begin(worker: Worker, job: _Job) -> None:
        source = (base / "src" / PACKAGE / f"{job.mutant.module}.py").read_text()
        changed = {f"{job.mutant.module}.py": job.mutant.apply(source)}
        limit = max(LIMIT, 20 + 4 * sum(knowledge.seconds[test] for test in job.tests))
        files = dict.fromkeys(test.partition("::")[0] for test in job.tests)
        worker.ask(files, changed, job.tests, limit, stop=True)
        busy[cast("IO[str]", worker.process.stdout)] = worker, job

    while waiting or busy:
        while waiting and idle:
            mutant = waiting.pop()
            tests = knowledge.tests(mutant, seconds)
            if not tests:
                yield Verdict(mutant, False, "no test comes to it", 0)
                continue
            begin(idle.pop(), _Job(mutant, tests[:AT_ONCE], tests[AT_ONCE:], 0, time.monotonic()))
        for stdout in select.select(list(busy), [], [])[0] if busy else []:
            worker, job = busy.pop(stdout)
            run = worker.answer()
            if run.passed and job.later:
                begin(worker, _Job(job.mutant, job.later, [], len(job.tests), job.begun))
                continue
            idle.append(worker)
            if run.why in knowledge.seconds:
                knowledge.noticed[job.mutant.module][run.why] += 1
            tried = job.tried + len(job.tests)
            why = f"{tried} tests pass" if run.passed else run.why
            yield Verdict(job.mutant, not run.passed, why, time.monotonic() - job.begun)


def accepted(path: Path) -> dict[tuple[str, str, str], str]:
    """The reasons in tools/mutants.accepted, by module, line and kind."""
    entries = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.strip() and not line.startswith("#"):
            module, _, rest = line.partition(": ")
            text, kind, reason = rest.rsplit(": ", 2)
            entries[module, text, kind] = reason
    return entries


def choose(found: dict[str, list[Mutant]], sample: int, seed: int) -> list[Mutant]:
    """A part of each module's faults, by their number, but not fewer than 20 where there are so many."""
    total = sum(map(len, found.values()))
    chosen = []
    for module, mutants in found.items():
        share = len(mutants)
        if sample and total > sample:
            share = min(share, max(20, round(sample * share / total)))
        part = random.Random(f"{seed}:{module}").sample(mutants, share)
        chosen += sorted(part, key=lambda mutant: mutant.start)
    return chosen


def main() -> int:
    """Runs it on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--module", action="append", metavar="NAME", help="repeatable; backends/zram")
    parser.add_argument("--seed", type=int, default=1, help="for the sample")
    parser.add_argument("--sample", type=int, default=400, metavar="N", help="about so many; 0: all")
    parser.add_argument(
        "--seconds", type=float, default=30, help="of tests for each fault; 0: all that come to it"
    )
    parser.add_argument("-j", type=int, default=2, metavar="N", help="so many at the same time")
    parser.add_argument("--tree", type=Path, default=HERE.parent, metavar="DIRECTORY")
    parser.add_argument("--list", action="store_true", help="show the faults, try none")
    parser.add_argument(
        "--verbose", action="store_true", help="show the noticed ones, too, and what noticed them"
    )
    options = parser.parse_args()
    package = options.tree / "src" / PACKAGE
    modules = [name.removesuffix(".py") for name in options.module or MODULES]
    modules = [name for name in modules if (package / f"{name}.py").exists() or name not in MODULES]
    entries = accepted(HERE / "mutants.accepted")
    found = {}
    used = set()
    for module in modules:
        mutants = mutate.find(module, (package / f"{module}.py").read_text())
        used |= {(m.module, m.text, m.kind) for m in mutants} & entries.keys()
        found[module] = [m for m in mutants if (m.module, m.text, m.kind) not in entries]
    for module, text, kind in entries:
        if module in found and (module, text, kind) not in used:
            print(f"mutants.accepted: there is no such fault any more: {module}: {text}: {kind}")
    chosen = choose(found, options.sample, options.seed)
    if options.list:
        for mutant in chosen:
            print(f"{mutant.module}.py:{mutant.line}: {mutant}")
        print(f"{len(chosen)} of {sum(map(len, found.values()))}")
        return 0
    if os.geteuid() != 0:
        parser.error("only root can give the tests mounts of their own")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return _judge(modules, chosen, options)


def _judge(modules: list[str], chosen: list[Mutant], options: argparse.Namespace) -> int:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"mutants: {PACKAGE} is not installed for {sys.executable}")
    repository = Path(spec.origin).resolve().parents[2]
    os.makedirs("/run/ghostctl", 0o700, exist_ok=True)
    begun = time.monotonic()
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="m-", ignore_cleanup_errors=True)))
        base.chmod(0o755)
        copy(options.tree, base)
        if Path(sys.prefix).is_relative_to(repository):
            (base / "tree" / Path(sys.prefix).relative_to(repository)).mkdir(exist_ok=True)
        verdicts = []
        for live in (False, True):
            part = [module for module in modules if (module in ON_AREAS) == live]
            of_part = [mutant for mutant in chosen if mutant.module in part]
            if not of_part:
                continue
            workers = []
            for name in ["live"] if live else [str(number) for number in range(options.j)]:
                workers.append(Worker(name, base, repository, live))
                stack.callback(workers[-1].end)
            knowledge = learn(workers, base, part, fast_tests(base / "tree", live))
            seconds = time.monotonic() - begun
            print(f"{len(knowledge.seconds)} tests, {len(of_part)} faults; {seconds:.0f} s", flush=True)
            for verdict in try_all(workers, base, of_part, knowledge, options.seconds):
                verdicts.append(verdict)
                if options.verbose or not verdict.noticed:
                    print(verdict, flush=True)
    return _summary(modules, verdicts, time.monotonic() - begun)


def _summary(modules: list[str], verdicts: list[Verdict], seconds: float) -> int:
    print()
    below = 0
    for module in modules:
        of_module = [verdict for verdict in verdicts if verdict.mutant.module == module]
        killed = sum(verdict.noticed for verdict in of_module)
        too_few = killed < NOTICED * len(of_module)
        below += too_few
        print(f"{module:16} {killed:4}/{len(of_module):<4}{'  below 90 %' if too_few else ''}")
    killed = sum(verdict.noticed for verdict in verdicts)
    print(f"{'all':16} {killed:4}/{len(verdicts):<4}  in {seconds:.0f} s")
    return 1 if below else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(Path(sys.argv[2]), Path(sys.argv[3]), "live" in sys.argv[4:])
    sys.exit(main())
