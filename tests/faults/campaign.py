#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes each system call of each writing command fail, or kills the program there, and checks what is left.

    tests/faults/campaign.py                         all faults of all commands, as root
    tests/faults/campaign.py --sample 300 --seed 7   some of them, the same ones each time
    tests/faults/campaign.py --scenario on-zram      those of one command
    tests/faults/campaign.py --scenario on-zram --fault openat:error=EMFILE:when=12
                                                     one of them, with all that it led to
    tests/faults/campaign.py --list                  the commands and how many faults each has

Prints a line for each violation, with the command that shows it again; exit status 1 when there are any.
What has to hold is in check.py, the commands are in scenarios.py.

The program under test is the package ghostctl that Python finds: PYTHONPATH chooses another one. It runs in
a mount namespace with its own /run, /var/lib, /etc/fstab, /etc/tmpfiles.d and parameters of zswap. zram is
the machine's, and other programs may be at it, too: a violation counts when it is there a second time.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults import check, state, straced
from faults.check import Baseline, Fault, Outcome, Run
from faults.scenarios import SCENARIOS, Place, Scenario, filled_in

HERE = Path(__file__).resolve().parent
LIMIT = 20
"""Seconds after which a run hangs."""


class Failure(Exception):
    """The campaign itself cannot go on."""


class Worker:
    """Runs faults, in a mount namespace of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.uuid = os.urandom(16)
        self.roots = {"d": base / "d", "varlib": base / "varlib", "tmpfiles.d": base / "tmpfiles.d"}
        for directory in self.roots.values():
            directory.mkdir()
        self._mount()
        self.observer = state.Observer(base, self.roots, self.uuid)
        self.modules: dict[str, None] = {}
        self.baselines: dict[str, Baseline] = {}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock = ours
        self.launcher = subprocess.Popen(
            [sys.executable, HERE / "launcher.py", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "COLUMNS": "100", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        theirs.close()

    def _mount(self) -> None:
        # mounts in a namespace of this process: they go with it
        fstab = self.base / "fstab"
        fstab.write_text("")
        zswap = self.base / "zswap"
        zswap.mkdir()
        for name, value in {**state.read_zswap(), "enabled": "N", "accept_threshold_percent": "90"}.items():
            (zswap / name).write_text(f"{value}\n")
        for arguments in (
            ("-t", "tmpfs", "-o", "mode=755", "ghostctl-faults", "/run"),
            ("--bind", self.roots["varlib"], "/var/lib"),
            ("--bind", fstab, "/etc/fstab"),
            ("--bind", self.roots["tmpfiles.d"], "/etc/tmpfiles.d"),
            ("--bind", zswap, state.ZSWAP),
        ):
            if Path(arguments[-1]).exists():
                subprocess.run(["mount", *arguments], check=True)

    def close(self) -> None:
        """Ends the launcher and puts the machine back."""
        self.sock.close()
        self.launcher.wait()
        self.observer.put_back()

    def arguments(self, template: str) -> list[str]:
        """A command's arguments with paths and UUIDs."""
        return filled_in(template, self.roots["d"], self.uuid).split()

    def run(self, arguments: Sequence[str], fault: Fault | None = None, *, learn: bool = False) -> Run:
        """Runs the program under strace, or to learn which modules it imports."""
        out_r, out_w = os.pipe()
        err_r, err_w = os.pipe()
        go_r, go_w = os.pipe()
        noted = self.base / "modules"
        request: dict[str, Any] = {
            "args": list(arguments),
            "cwd": str(self.base),
            "modules": list(self.modules),
        }
        if learn:
            request["learn"] = str(noted)
        if fault is not None and fault.fsize is not None:
            request["fsize"] = fault.fsize
        socket.send_fds(self.sock, [json.dumps(request).encode()], [out_w, err_w, go_r])
        for fd in (out_w, err_w, go_r):
            os.close(fd)
        pid = self._answer()
        trace, hung = "", False
        if learn:
            os.write(go_w, b"x")
        else:
            trace, hung = self._strace(pid, fault, go_w)
        os.close(go_w)
        status = self._answer()
        # no more than a pipe takes: reading at the end is early enough
        out, err = _drain(out_r), _drain(err_r)
        if learn:
            self.modules.update(dict.fromkeys(noted.read_text().split("\n")))
        calls = straced.parse(trace)
        self.observer.note_zram(*straced.zram_changes(calls))
        return Run(status, out, err, calls, hung)

    def _answer(self) -> int:
        data = self.sock.recv(64)
        if not data:
            raise Failure(f"the launcher ended with {self.launcher.wait()}")
        return int(json.loads(data))

    def _strace(self, pid: int, fault: Fault | None, go: int) -> tuple[str, bool]:
        path = self.base / "trace"
        inject = [] if fault is None or fault.fsize is not None else ["-e", f"inject={fault.text}"]
        with subprocess.Popen(
            ["strace", "-f", "-y", "-s", "64", "-o", path, *inject, "-p", str(pid)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as strace:
            assert strace.stderr
            line = strace.stderr.readline()
            if b"attached" not in line:
                os.kill(pid, 9)
                raise Failure(f"strace: {line.decode()}")
            os.write(go, b"x")
            hung = False
            try:
                strace.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                hung = True
                text = path.read_text(errors="replace")
                for traced in {call.pid for call in straced.parse(text)} | {pid}:
                    with suppress(ProcessLookupError):
                        os.kill(traced, 9)
                strace.communicate(timeout=LIMIT)
        return path.read_text(errors="replace"), hung

    def _prepare(self, scenario: Scenario) -> None:
        self.observer.put_back()

        def clean(*arguments: str) -> None:
            run = self.run(arguments)
            if run.status != 0:
                raise Failure(f"{scenario.name}: cannot be prepared: {run.err}")

        scenario.prepare(
            Place(self.roots["d"], self.roots["varlib"], self.roots["tmpfiles.d"], self.uuid, clean)
        )

    @contextmanager
    def _machine(self, scenario: Scenario) -> Iterator[None]:
        """Keeps the other workers off what there is only one of; puts it back."""
        with open(self.base.parent / "lock", "w") as lock:
            if scenario.zram:
                fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                self.observer.put_back()

    def baseline(self, scenario: Scenario) -> Baseline:
        """The command without a fault."""
        if scenario.name not in self.baselines:
            with self._machine(scenario):
                self.baselines[scenario.name] = _steadily(lambda: self._baseline(scenario))
        return self.baselines[scenario.name]

    def _baseline(self, scenario: Scenario) -> Baseline:
        arguments = self.arguments(scenario.args)
        self._prepare(scenario)
        for _ in range(2):
            self.run(arguments, learn=True)
        self._prepare(scenario)
        old = self.observer.read()
        run = self.run(arguments)
        new = self.observer.read()
        again = self.run(arguments)
        end = self.observer.read()
        if end != new:
            raise Failure(f"{scenario.name}: done again, {check.difference(new, end)}: {again.err}")
        return Baseline(old, run, new, again, self._unsynced(run) if new != old else [])

    def _unsynced(self, run: Run) -> list[str]:
        below = (*(f"{path}/" for path in self.roots.values()), "/var/lib/", "/etc/tmpfiles.d/")
        return straced.unsynced(run.calls, below)

    def sound(self, scenario: Scenario) -> list[str]:
        """What is wrong without any fault."""
        base = self.baseline(scenario)
        wrong = scenario.expect(base.old, base.new)
        found = [f"without a fault: {wrong}"] if wrong else []
        found += [f"durable: {text}" for text in base.unsynced]
        for name, file in base.new.files.items():
            if name.endswith(("/ghost0", "/ghost1")) and (problem := state.header_problem(file.content)):
                found.append(f"without a fault: header of {name}: {problem}")
        return found

    def attempt(self, scenario: Scenario, fault: Fault) -> tuple[list[str], Outcome]:
        """One fault; the violations and what it led to."""
        base = self.baseline(scenario)
        arguments = self.arguments(scenario.args)
        with self._machine(scenario):
            _steadily(lambda: self._prepare(scenario))
            run = self.run(arguments, fault)
            numbers, after = self.observer.read_with_numbers()
            unsynced = self._unsynced(run) if after != base.old else []
            again = self.run(arguments)
            if scenario.restore and not any(device.area for device in after.devices):
                restored = self.run(self.arguments(scenario.restore))
                again = again._replace(err=again.err + restored.err)
            end_numbers, end = self.observer.read_with_numbers()
        outcome = Outcome(run, after, numbers, again, end, end_numbers, unsynced)
        return list(check.violations(scenario, base, fault, outcome)), outcome

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Does what the campaign asks for."""
        scenario = next(one for one in SCENARIOS if one.name == request["scenario"])
        if request["fault"] is None:
            listed = [fault.text for fault in check.faults(self.baseline(scenario).run.calls)]
            return {"faults": listed, "violations": self.sound(scenario)}
        fault = Fault(request["fault"])
        found, outcome = self.attempt(scenario, fault)
        unstable = False
        if found:
            before = found
            found, outcome = self.attempt(scenario, fault)
            if not found:
                found, unstable = before, True
        answer: dict[str, Any] = {"violations": found, "unstable": unstable}
        answer["struck"] = fault.fsize is not None or bool(fault.hit(outcome.run.calls))
        if request.get("verbose"):
            base = self.baseline(scenario)
            answer["report"] = _report(base, fault, outcome)
        return answer


Result = TypeVar("Result")


def _steadily(step: Callable[[], Result], tries: int = 5) -> Result:
    """Does it again when it fails: another program may have been at the same zram devices."""
    while True:
        try:
            return step()
        except Failure:
            tries -= 1
            if not tries:
                raise


def _drain(fd: int) -> str:
    with open(fd, "rb", buffering=0) as file:
        data = b""
        # a child of the program that lives on keeps the pipe open
        while select.select([file], [], [], 1)[0] and (more := file.read(1 << 16)):
            data += more
    return data.decode("utf-8", "replace")


def _report(base: Baseline, fault: Fault, outcome: Outcome) -> str:
    lines = [f"struck: {call.pid} {call.name}({call.text}" for call in fault.hit(outcome.run.calls)]
    for title, run in (("with the fault", outcome.run), ("again", outcome.again), ("without", base.run)):
        lines += [f"{title}: status {run.status}", *(f"  stdout: {line}" for line in run.out.splitlines())]
        lines += [f"  stderr: {line}" for line in run.err.splitlines()]
    lines.append(f"after the fault, to the state before: {check.difference(base.old, outcome.after)}")
    lines.append(f"after the fault, to the state wanted: {check.difference(base.new, outcome.after)}")
    lines.append(f"after the next run, to the state wanted: {check.difference(base.new, outcome.end)}")
    lines += [f"not synced: {text}" for text in outcome.unsynced]
    lines.append("last calls with the fault:")
    begun = [call for call in outcome.run.calls if call.begun]
    lines += [f"  {call.pid} {call.name}({call.text}" for call in begun[-400:]]
    return "\n".join(lines)


def work(base: Path) -> None:
    """The life of a worker: a request on each line of stdin, an answer on each line of stdout."""
    worker = Worker(base)
    try:
        for line in sys.stdin:
            print(json.dumps(worker.answer(json.loads(line))), flush=True)
    except Failure as failure:
        print(json.dumps({"failure": str(failure)}), flush=True)
    except Exception:  # noqa: BLE001  the campaign prints it
        print(json.dumps({"failure": traceback.format_exc()}), flush=True)
    finally:
        worker.close()


class Pool:
    """Workers, each with a thread that gives it requests."""

    def __init__(self, directory: Path, count: int) -> None:
        self.workers = []
        for number in range(count):
            base = directory / f"w{number}"
            base.mkdir()
            self.workers.append(
                subprocess.Popen(
                    [
                        "unshare",
                        "--mount",
                        "--propagation=private",
                        sys.executable,
                        __file__,
                        "--work-in",
                        base,
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            assert worker.stdin
            with suppress(BrokenPipeError):
                worker.stdin.close()
        for worker in self.workers:
            worker.wait()

    def map(self, requests: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Requests with their answers, as they come. One worker begins at the front, others at the end."""
        waiting = deque(requests)
        done: deque[tuple[dict[str, Any], dict[str, Any]]] = deque()
        changed = threading.Condition()

        def serve(number: int) -> None:
            worker = self.workers[number]
            assert worker.stdin
            assert worker.stdout
            while True:
                try:
                    request = waiting.pop() if number else waiting.popleft()
                except IndexError:
                    return
                line = ""
                with suppress(BrokenPipeError):
                    print(json.dumps(request), file=worker.stdin, flush=True)
                    line = worker.stdout.readline()
                answer = json.loads(line) if line else {"failure": f"worker {number} ended"}
                with changed:
                    done.append((request, answer))
                    changed.notify()
                if "failure" in answer:
                    return

        threads = [threading.Thread(target=serve, args=(n,), daemon=True) for n in range(len(self.workers))]
        for thread in threads:
            thread.start()
        try:
            for _ in range(len(requests)):
                with changed:
                    while not done:
                        changed.wait()
                    request, answer = done.popleft()
                if "failure" in answer:
                    raise Failure(f"{request['scenario']} {request['fault'] or ''}: {answer['failure']}")
                yield request, answer
        finally:
            waiting.clear()
            for thread in threads:
                thread.join()


def _again(name: str, fault: str | None) -> str:
    words = [sys.executable, os.path.relpath(__file__), "--scenario", name]
    if fault:
        words += ["--fault", fault]
    path = os.environ.get("PYTHONPATH")
    return (f"PYTHONPATH={shlex.quote(path)} " if path else "") + shlex.join(words)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fault campaign: see the docstring of this file.")
    parser.add_argument(
        "--scenario", action="append", metavar="NAME", help="only this command; may be repeated"
    )
    parser.add_argument("--fault", metavar="FAULT", help="only this fault, with all that it led to")
    parser.add_argument("--sample", type=int, metavar="N", help="only N faults, chosen by the seed")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="for --sample (default 0)")
    parser.add_argument("--list", action="store_true", help="list the commands and how many faults each has")
    parser.add_argument("-j", "--jobs", type=int, default=2, metavar="N", help="workers (default 2)")
    parser.add_argument("--directory", metavar="DIR", help="on a filesystem that can have swap files")
    parser.add_argument("--work-in", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


class Tally:
    """What has been found; printed as it comes."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.ran = self.missed = self.unstable = 0

    def note(self, name: str, fault: str, answer: dict[str, Any]) -> None:
        """Counts an answer, and prints its violations."""
        self.ran += answer["struck"]
        self.missed += not answer["struck"]
        if (self.ran + self.missed) % 1000 == 0:
            print(f"{self.ran + self.missed} tried", file=sys.stderr, flush=True)
        if answer["unstable"]:
            self.unstable += 1
            text = f"(once, not again) {name} {fault}: {answer['violations'][0]}"
            print(text, file=sys.stderr, flush=True)
        elif answer["violations"]:
            self.found[name] += 1
            for text in answer["violations"]:
                print(f"{name} {fault}: {text}", flush=True)
            print(f"    {_again(name, fault)}", flush=True)
        if "report" in answer:
            print(answer["report"])

    def conclude(self) -> None:
        """Prints the sums."""
        print(f"{self.ran} faults, {sum(self.found.values())} violations")
        for name, count in self.found.most_common():
            print(f"{count:6} {name}")
        if self.missed or self.unstable:
            text = f"{self.missed} calls did not come again, {self.unstable} violations did not"
            print(text, file=sys.stderr)


def campaign(options: argparse.Namespace, directory: Path) -> int:
    """Runs the faults that were asked for; returns the exit status."""
    names = [scenario.name for scenario in SCENARIOS]
    for name in options.scenario or ():
        if name not in names:
            raise Failure(f"there is no {name}; there are {', '.join(names)}")
    chosen = [one for one in SCENARIOS if not options.scenario or one.name in options.scenario]
    tally = Tally()
    with Pool(directory, 1 if options.fault else options.jobs) as pool:
        listed: dict[str, list[str]] = {}
        if not options.fault:
            for request, answer in pool.map([{"scenario": one.name, "fault": None} for one in chosen]):
                name = request["scenario"]
                listed[name] = answer["faults"]
                for text in answer["violations"]:
                    tally.found[name] += 1
                    print(f"{name}: {text}", flush=True)
        if options.list:
            for scenario in chosen:
                print(f"{len(listed[scenario.name]):6} {scenario.name}: ghostctl {scenario.args}")
            return 0
        # those that have to wait for each other at one end, for one worker
        jobs = [(one, fault) for one in chosen for fault in listed.get(one.name, [options.fault])]
        if options.sample is not None and options.sample < len(jobs):
            jobs = random.Random(options.seed).sample(jobs, options.sample)
        jobs.sort(key=lambda job: not job[0].zram)
        requests = [
            {"scenario": one.name, "fault": fault, "verbose": bool(options.fault)} for one, fault in jobs
        ]
        try:
            for request, answer in pool.map(requests):
                tally.note(request["scenario"], request["fault"], answer)
        finally:
            # also of a campaign that is ended early
            tally.conclude()
    return 1 if tally.found else 0


def _stop(_number: int, _frame: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def main() -> int:
    options = _arguments()
    # the workers end with their requests, and put back what there is
    signal.signal(signal.SIGTERM, _stop)
    if options.work_in:
        work(options.work_in)
        return 0
    with tempfile.TemporaryDirectory(prefix="ghostctl-faults-", dir=options.directory) as name:
        try:
            return campaign(options, Path(name).resolve())
        except Failure as failure:
            print(failure, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
