# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults, and what has to hold after each of them."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from faults.scenarios import Scenario
from faults.state import State
from faults.straced import Call

# calls of the interpreter for itself: their failure says nothing about this program
_INTERPRETER = re.compile(
    "m(un|re)?map|mprotect|madvise|brk|futex|getrandom|clock_(gettime|nanosleep)|rt_sig(action|procmask|return)|"
    "sigaltstack|get[pt]id|set_robust_list|rseq|exit|exit_group|sched_yield|arch_prctl"
)
# these cannot fail, or happened although they failed; a signal may come all the same
_NEVER_FAIL = re.compile("close|gete?[ug]id|uname|umask|wait4|dup[23]|sched_getaffinity")

_ERRNOS = {
    "openat": ("EACCES", "ENOMEM", "EIO"),
    "read": ("EIO",),
    "pread64": ("EIO",),
    "write": ("ENOSPC", "EIO", "EINTR"),
    "pwrite64": ("ENOSPC", "EIO", "EINTR"),
    "fsync": ("EIO", "ENOSPC", "EINTR"),
    "fdatasync": ("EIO", "ENOSPC", "EINTR"),
    "newfstatat": ("EACCES", "ENOMEM"),
    "statx": ("EACCES", "ENOMEM"),
    "fstat": ("EIO",),
    "lseek": ("ESPIPE",),
    "ioctl": ("ENOTTY",),
    "readlink": ("EACCES", "ENOMEM"),
    "getdents64": ("EIO",),
    "linkat": ("EIO", "ENOSPC", "EPERM", "EEXIST"),
    "link": ("EIO", "ENOSPC", "EPERM"),
    "renameat": ("EIO", "ENOSPC", "EACCES"),
    "renameat2": ("EIO", "ENOSPC", "EACCES", "EINVAL", "ENOSYS"),
    "rename": ("EIO", "ENOSPC", "EACCES"),
    "unlinkat": ("EIO", "EACCES"),
    "unlink": ("EIO", "EACCES"),
    "mkdir": ("ENOSPC", "EACCES"),
    "mkdirat": ("ENOSPC", "EACCES"),
    "ftruncate": ("EIO", "ENOSPC"),
    "flock": ("ENOLCK", "EINTR", "EAGAIN"),
    "fcntl": ("EMFILE", "ENOLCK"),
    "fchmod": ("EPERM", "EIO"),
    "fchown": ("EPERM", "EIO"),
    "getxattr": ("EACCES", "ENOMEM", "EOPNOTSUPP"),
    "fgetxattr": ("EACCES", "ENOMEM", "EOPNOTSUPP"),
    "flistxattr": ("EACCES", "ENOMEM", "EOPNOTSUPP"),
    "fsetxattr": ("ENOSPC", "EPERM", "EOPNOTSUPP"),
    "fstatfs": ("EIO", "ENOSYS"),
    "statfs": ("EIO", "ENOSYS"),
    "access": ("EACCES", "EIO"),
    "faccessat2": ("EACCES", "EIO", "ENOSYS"),
    "fadvise64": ("EINVAL", "EBADF"),
    "swapon": ("EPERM", "EINVAL", "ENOMEM", "EBUSY", "EINTR"),
    "swapoff": ("EPERM", "ENOMEM", "EINTR"),
    "clone": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "fork": ("EAGAIN", "ENOMEM"),
    "vfork": ("EAGAIN", "ENOMEM"),
    "pipe2": ("EMFILE",),
    "dup": ("EMFILE",),
    "setsid": ("EPERM",),
}
# what fails once may fail for good: a full disk, no more memory, no more descriptors
_FOR_GOOD = {
    "openat": "EMFILE",
    "pwrite64": "ENOSPC",
    "fsync": "EIO",
    "linkat": "ENOSPC",
    "renameat": "EIO",
    "swapon": "ENOMEM",
    "swapoff": "ENOMEM",
}
_LIMITS = (0, 1, 100, 1030, 1100, 1535, 4095)

_STATUSES = frozenset(range(8)) | {32, 64}
_TEMPORARY = re.compile(r"(.*/)?\.ghostctl-(new|probe)")
_STATE_WORDS = re.compile(r"\b(in)?active\b|\boff\b|\bleft\b|\bdown\b|\bswapo(n|ff)\b|hot_remove|\bremove")


class Run(NamedTuple):
    """How a run of the program ended."""

    status: int
    """Exit status, -N for a signal."""
    out: str
    err: str
    calls: list[Call]
    hung: bool = False


class Baseline(NamedTuple):
    """A run without faults, and the same command once more."""

    old: State
    run: Run
    new: State
    again: Run
    unsynced: list[str]


class Fault(NamedTuple):
    """One thing that goes wrong: ``NAME:WHAT:when=N`` as strace takes it, or ``fsize=BYTES``."""

    text: str

    @property
    def name(self) -> str:
        return self.text.partition(":")[0]

    @property
    def fsize(self) -> int | None:
        return int(self.text.removeprefix("fsize=")) if self.text.startswith("fsize=") else None

    @property
    def signal(self) -> int | None:
        match = re.search(r":signal=(\w+):", self.text)
        return signal.Signals[match[1]] if match else None

    @property
    def error(self) -> str | None:
        match = re.search(r":error=(\w+):", self.text)
        return match[1] if match else None

    @property
    def number(self) -> int:
        match = re.search(r":when=(\d+)", self.text)
        return int(match[1]) if match else 0

    def hit(self, calls: Sequence[Call]) -> list[Call]:
        """The calls that it struck."""
        if self.error or ":retval=" in self.text:
            return [call for call in calls if call.injected]
        return [call for call in calls if (call.name, call.number) == (self.name, self.number)]


def faults(calls: Sequence[Call]) -> list[Fault]:
    """All that can go wrong in a run like this one."""
    found: dict[str, None] = {}
    # strace counts for each process: these would strike what comes before the program, too
    launcher = {(call.name, call.number) for call in calls if not call.begun}
    for before, call, after in zip([None, *calls], calls, [*calls[1:], None], strict=False):
        if (
            not call.begun
            or (call.name, call.number) in launcher
            or (_is_like(before, call) and _is_like(call, after))
        ):
            continue
        what = ["signal=SIGKILL", f"signal={('SIGTERM', 'SIGINT')[len(found) % 2]}"]
        for_good = _FOR_GOOD.get(call.name)
        if _INTERPRETER.fullmatch(call.name):
            what, for_good = what[:1], None
        elif not _NEVER_FAIL.fullmatch(call.name):
            what += [f"error={name}" for name in _ERRNOS.get(call.name, ("EPERM", "ENOSYS"))]
            if call.name == "openat" and "O_CREAT" in call.text:
                what.append("error=ENOSPC")
            if call.name == "openat" and "O_TMPFILE" in call.text:
                what.append("error=EOPNOTSUPP")
            if call.name in ("write", "pwrite64"):
                # a short write of nothing: a larger one would leave bytes unwritten that count as written
                what.append("retval=0")
            if call.name == "write" and call.fd and call.fd[0] == 1:
                what.append("error=EPIPE")
        for one in what:
            found[f"{call.name}:{one}:when={call.number}"] = None
        if for_good:
            found[f"{call.name}:error={for_good}:when={call.number}+"] = None
    return [Fault(text) for text in found] + [Fault(f"fsize={limit}") for limit in _LIMITS]


def _is_like(one: Call | None, other: Call | None) -> bool:
    """Whether one goes on with the other: of a file read in a thousand pieces, first and last will do."""
    return one is not None and other is not None and one[:2] == other[:2] and one.fd == other.fd is not None


class Outcome(NamedTuple):
    """What a fault led to."""

    run: Run
    after: State
    numbers: tuple[int, ...]
    """Of the zram devices after it."""
    again: Run
    end: State
    end_numbers: tuple[int, ...]
    unsynced: list[str]


def violations(scenario: Scenario, base: Baseline, fault: Fault, outcome: Outcome) -> Iterator[str]:
    """What does not hold."""
    run = outcome.run
    if run.hung:
        yield "hang: it did not end"
        return
    hit = fault.hit(run.calls)
    struck = {call.fd[0] for call in hit if call.name == "write" and call.fd}
    killed = fault.signal == signal.SIGKILL
    yield from _said(scenario, fault, run, struck)
    yield from _files(base, outcome.after, killed, run.err)
    if run.status == base.run.status:
        yield from _done(scenario, base, outcome)
    elif not killed:
        if run.status == 0 and not scenario.reports:
            yield f"status: exit 0, without a fault {base.run.status}"
        if 2 not in struck:
            yield from _unsaid(scenario, base, fault, outcome, struck)
    if scenario.reports and 1 not in struck and run.status >= 0:
        lost = set(_checks(base.run.out)) - set(_checks(run.out))
        if lost:
            yield f"report: without {', '.join(sorted(lost))}"
    yield from _second_run(scenario, base, outcome, killed)


def _checks(text: str) -> list[str]:
    return [match[2] for match in re.finditer(r"^(OK|WARN|FAIL) +(\S+)", text, re.MULTILINE)]


def _said(scenario: Scenario, fault: Fault, run: Run, struck: set[int]) -> Iterator[str]:
    by_signal = {-fault.signal} if fault.signal else set()
    if fault.error == "EPIPE" and 1 in struck:
        by_signal = {-signal.SIGPIPE}
    if run.status not in _STATUSES | by_signal:
        yield f"status: {run.status}"
    lines = run.err.splitlines()
    strange = [line for line in lines if not line.startswith("ghostctl: ")]
    if strange and 2 not in struck:
        yield f"stderr: {strange[-1]!r} without 'ghostctl: '"
    quiet = scenario.reports and run.status in (0, 1)
    if run.status > 0 and not lines and not quiet and 2 not in struck:
        yield f"stderr: exit {run.status} without a word"
    if "standard output" in run.err and 1 not in struck:
        yield "stderr: names standard output, which did not fail"


def _files(base: Baseline, after: State, killed: bool, err: str) -> Iterator[str]:
    for name in sorted(after.files.keys() | base.old.files.keys()):
        allowed = (base.old.files.get(name), base.new.files.get(name))
        if after.files.get(name) in allowed:
            continue
        if _TEMPORARY.fullmatch(name) and (killed or _is_named(name, err)):
            continue
        yield f"file: {name} is neither the old one nor the new one: {_describe(after, base, name)}"


def _is_named(name: str, err: str) -> bool:
    """Whether this is a temporary file that a failing unlink(2) has left, and that is named."""
    return bool(_TEMPORARY.fullmatch(name)) and name.rpartition("/")[2] in err


def _describe(after: State, base: Baseline, name: str) -> str:
    file = after.files.get(name)
    if file is None:
        return "gone"
    like = base.new.files.get(name) or base.old.files.get(name)
    if like is None:
        return f"left over, {len(file.content)} bytes"
    if like.content != file.content:
        pairs = enumerate(zip(like.content, file.content, strict=False))
        first = next((n for n, (a, b) in pairs if a != b), None)
        return f"{len(file.content)} bytes, first difference at {first}"
    return f"mode {file.mode:o}, owner {file.owner}"


def _done(scenario: Scenario, base: Baseline, outcome: Outcome) -> Iterator[str]:
    after = outcome.after
    if outcome.run.status:
        # a report that ends with this status anyway may leave what a line names, as any failing command
        named = {name for name in after.files if _is_named(name, outcome.run.err)}
        after = after._replace(files={name: file for name, file in after.files.items() if name not in named})
    if after != base.new:
        yield f"done: exit {base.run.status}, but {difference(base.new, after)}"
    for text in outcome.unsynced:
        # said once, of the run without a fault
        if text not in base.unsynced:
            yield f"durable: exit {base.run.status}, but {text}"
    if not scenario.reports and _plain(outcome.run.out) != _plain(base.run.out):
        yield f"stdout: exit {base.run.status}, but it has {outcome.run.out[-80:]!r}"


def _plain(text: str) -> str:
    # setup names the areas of other workers
    return re.sub(r"zram\d+", "zram", re.sub(r"^note .*\n", "", text, flags=re.MULTILINE))


def _unsaid(
    scenario: Scenario, base: Baseline, fault: Fault, outcome: Outcome, struck: set[int]
) -> Iterator[str]:
    """What a failed run left otherwise than it was, and did not name."""
    old, new, after = base.old, base.new, outcome.after
    # where only standard output failed, all has been done
    if after == old or (after == new and (fault.signal or 1 in struck)):
        return
    lines = outcome.run.err.splitlines()
    spoken = "\n".join(line for line in lines if _STATE_WORDS.search(line))
    for number, device in zip(outcome.numbers, after.devices, strict=False):
        if device.area is None and device not in old.devices and not _names(outcome.run.err, number):
            yield f"unsaid: /dev/zram{number} is left, and no line names it"
    was, now = _active(old), _active(after)
    for name in sorted(was.keys() ^ now.keys()):
        if name not in spoken and not (name == "ghost0" and re.search(r"zram\d", spoken)):
            what = "active" if name in now else "not active any more"
            yield f"unsaid: {name} is {what}, and no line says so"
    for name in was.keys() & now.keys():
        if now[name] not in (was[name], _active(new).get(name)) and name not in spoken:
            yield f"unsaid: {name} is active otherwise than before, and no line says so"
    if after == new:
        return
    for name, value in after.zswap.items():
        if value != old.zswap[name] and name not in outcome.run.err:
            yield f"unsaid: {name} of zswap is {value}, and no line names it"
    if scenario.all_or_nothing:
        for name in after.files.keys() | old.files.keys():
            if after.files.get(name) != old.files.get(name) and name.split("/")[-1] not in outcome.run.err:
                yield f"unsaid: {name} has changed, and no line names it"


def _names(text: str, number: int) -> bool:
    return bool(re.search(rf"zram{number}\b|\b{number} > \S*hot_remove", text))


def _active(state: State) -> dict[str, object]:
    active: dict[str, object] = {name.split("/")[-1]: area for name, area in state.areas.items()}
    active.update(("ghost0", device) for device in state.devices if device.area)
    return active


def _second_run(scenario: Scenario, base: Baseline, outcome: Outcome, killed: bool) -> Iterator[str]:
    again, end = outcome.again, outcome.end
    if again.hung:
        yield "again: the next run did not end"
        return
    strange = [line for line in again.err.splitlines() if not line.startswith("ghostctl: ")]
    if strange:
        yield f"again: {strange[-1]!r} without 'ghostctl: '"
    if again.status not in (base.run.status, base.again.status) and not scenario.reports:
        last = again.err.strip().splitlines()[-1:] or [""]
        yield f"again: the next run ended with {again.status}: {last[0]}"
        return
    # nothing on a device without a header tells who made it: then naming it is all that can be done
    said = again.err if killed else again.err + outcome.run.err
    devices = [
        device
        for number, device in zip(outcome.end_numbers, end.devices, strict=False)
        if device.header.strip(b"\0") or not _names(said, number)
    ]
    end = end._replace(devices=tuple(devices))
    if end != base.new:
        yield f"again: after the next run {difference(base.new, end)}"


def difference(wanted: State, found: State) -> str:
    """The first thing in which two states differ."""
    for name in sorted(wanted.files.keys() | found.files.keys()):
        if name not in found.files:
            return f"{name} is not there"
        if name not in wanted.files:
            return f"{name} is there"
        if wanted.files[name] != found.files[name]:
            return f"{name} is not as it should be"
    if wanted.areas != found.areas:
        return f"areas {sorted(found.areas)}, not {sorted(wanted.areas)}"
    if wanted.devices != found.devices:
        return f"zram devices {_brief(found)}, not {_brief(wanted)}"
    changed = [name for name, value in found.zswap.items() if wanted.zswap.get(name) != value]
    return f"zswap's {', '.join(changed)} differ" if changed else "nothing differs"


def _brief(state: State) -> list[tuple[object, ...]]:
    return [
        (device.size, device.limit, device.compressor, device.area, bool(device.header.strip(b"\0")))
        for device in state.devices
    ]
