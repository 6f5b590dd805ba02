#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a command in a fresh Debian, as root on Debian.

    tools/chroot.py trixie -- cat /etc/os-release
    tools/chroot.py --include make,python3-venv --copy .:/src bookworm -- make test
    tools/chroot.py --include gcc --no-network --copy .:/src --user nobody sid -- make

The Debian of each suite, architecture and list of packages is made once, by mmdebstrap, and kept for two
weeks in ~/.cache/ghostctl-chroots. What a command changes goes to a directory that is removed after it; /tmp
is on the disk below, for what cannot be done on overlayfs. Mounts and processes of the command are its own
and end with it. With --devices it has /dev and /sys of the machine, to be written; otherwise a small /dev,
and /sys to be read.

With the network, pip is set up as it is for the user who calls this. GHOSTCTL_DEBIAN_MIRROR: where packages
come from, instead of http://deb.debian.org/debian.
"""

from __future__ import annotations

import argparse
import configparser
import ctypes
import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

CACHE = Path("~/.cache/ghostctl-chroots").expanduser()
MIRROR = os.environ.get("GHOSTCTL_DEBIAN_MIRROR") or "http://deb.debian.org/debian"
KEPT_DAYS = 14
GRACE_SECONDS = 10
PIP_FILES = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"]
NETWORK_FILES = ["/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"]
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PASSED_ON = ("CI", "TERM", "SOURCE_DATE_EPOCH")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

# linux/sched.h, linux/fs.h, linux/prctl.h, linux/sockios.h, linux/if.h
CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, name: str) -> None:
    """Raises what a system call says."""
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def unshare(flags: int) -> None:
    """Like os.unshare() of Python 3.12."""
    _check(_libc.unshare(flags), "unshare")


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def setns(descriptor: int, kind: int) -> None:
    """Like os.setns() of Python 3.12."""
    _check(_libc.setns(descriptor, kind), "setns")


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Holds a lock on this file or directory, which other calls of this program respect."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if path.is_dir() else os.O_CREAT), 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def apt_options() -> list[str]:
    """How apt of this machine gets files, as options of mmdebstrap."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    wanted = ("Acquire::http", "Acquire::ftp", "Acquire::Retries", "Acquire::Force", "Acquire::Check-")
    return [f"--aptopt={line}" for line in dump.splitlines() if line.startswith(wanted)]


def lock_of(tree: Path) -> Path:
    return CACHE / f"{tree.name}.lock"


def native() -> str:
    """Debian's name of this machine's processor."""
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def variant(arch: str) -> list[str]:
    """How much of a Debian it is, as options of mmdebstrap.

    Packages for another processor are unpacked and not configured: emulated, that takes half an hour.
    """
    if arch == native():
        return ["--variant=minbase"]
    masters = [f'cp "$1/usr/share/base-passwd/{name}.master" "$1/etc/{name}"' for name in ("passwd", "group")]
    return [
        "--variant=extract",
        "--include=?essential",
        "--include=?priority(required)",
        "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
        *(f"--extract-hook={master}" for master in masters),
    ]


def base(suite: str, arch: str, packages: Sequence[str]) -> Path:
    """The tree of this suite with these packages, made where it is missing or too old."""
    if not shutil.which("mmdebstrap"):
        sys.exit("chroot.py: mmdebstrap is missing: apt-get install mmdebstrap")
    key = hashlib.sha256(" ".join([MIRROR, *packages]).encode()).hexdigest()[:12]
    tree = CACHE / f"{suite}-{arch}-{key}"
    with locked(lock_of(tree), fcntl.LOCK_EX):
        made = tree / "etc/apt/sources.list"
        if made.exists() and time.time() - made.stat().st_mtime < KEPT_DAYS * 86400:
            return tree
        remove(tree)
        # apart, so that a tree with the final name is whole
        unfinished = CACHE / f"{tree.name}.new"
        remove(unfinished)
        run_to_end(
            [
                # its mounts are its own
                "unshare",
                "--mount",
                "mmdebstrap",
                "--mode=root",
                *variant(arch),
                f"--architectures={arch}",
                *(f"--include={name}" for name in packages),
                "--dpkgopt=force-unsafe-io",
                "--skip=cleanup/apt/lists",
                # nothing starts services here
                "--customize-hook=printf '#!/bin/sh\\nexit 101\\n' >\"$1/usr/sbin/policy-rc.d\"",
                '--customize-hook=chmod 755 "$1/usr/sbin/policy-rc.d"',
                *apt_options(),
                suite,
                str(unfinished),
                MIRROR,
            ]
        )
        (unfinished / "etc/apt/sources.list").touch()
        unfinished.rename(tree)
    return tree


def run_to_end(command: Sequence[str]) -> None:
    """A signal to this process ends the command, too, not this one alone."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)

    def end(*_: object) -> None:
        process.terminate()

    before = [
        (number, signal.signal(number, end)) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    ]
    status = process.wait()
    for number, handler in before:
        signal.signal(number, handler)
    if status:
        raise subprocess.CalledProcessError(status, command)


def remove(directory: Path) -> None:
    """Never what is mounted below it."""
    subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], check=True)


def remove_stale() -> None:
    """What killed runs left, and trees too old to be used."""
    for run in CACHE.glob("run-*/"):
        with suppress(BlockingIOError), locked(run, fcntl.LOCK_EX | fcntl.LOCK_NB):
            remove(run)
    for made in CACHE.glob("*/etc/apt/sources.list"):
        tree = made.parents[2]
        if time.time() - made.stat().st_mtime > KEPT_DAYS * 86400:
            with suppress(BlockingIOError), locked(lock_of(tree), fcntl.LOCK_EX | fcntl.LOCK_NB):
                remove(tree)


def copy_tree(source: Path, target: Path) -> None:
    """Of a git checkout only what git knows or would add, and its .git: neither builds nor environments."""
    target.mkdir(parents=True)
    if not (source / ".git").is_dir():
        subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True)
        return
    listing = ["git", "-C", str(source), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    known = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    names = sorted({name for name in known.split("\0") if name and os.path.lexists(source / name)})
    subprocess.run(["cp", "-a", "--parents", "-t", str(target), ".git", *names], cwd=source, check=True)


def pip_configuration(root: Path) -> list[Path]:
    """Writes pip's configuration into the chroot; returns the local directories that it names."""
    merged = configparser.ConfigParser(interpolation=None)
    merged.read([os.path.expanduser(name) for name in PIP_FILES])
    (root / "etc").mkdir(exist_ok=True)
    with (root / "etc/pip.conf").open("w") as file:
        merged.write(file)
    values = [value for section in merged.sections() for value in merged[section].values()]
    values += [value for name, value in os.environ.items() if name.startswith("PIP_")]
    directories = []
    for word in sorted(set(" ".join(values).split())):
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.is_file():
            copy_file(path, root)
        elif path.is_absolute() and path.is_dir():
            # the pages of a local index name files beside it
            directories.append(path.parent if word.startswith("file://") else path)
    return directories


def copy_file(path: Path, root: Path) -> None:
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def bind(source: Path, target: Path, read_only: bool = False) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount("--rbind", source, target)
    if read_only:
        _mount("-o", "remount,bind,ro", target)


def make_devices(dev: Path) -> None:
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", dev)
    for name in DEVICES:
        # those of the machine: in a user namespace (emulated.py) none can be made
        bind(Path("/dev") / name, dev / name)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    _mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620,gid=5", "devpts", dev / "pts")
    _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", dev / "shm")
    (dev / "ptmx").symlink_to("pts/ptmx")
    for link, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (dev / link).symlink_to(f"/proc/self/fd{target}")


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def prepare(tree: Path, run: Path, options: argparse.Namespace) -> Path:
    """Mounts the chroot, in namespaces of the calling process alone."""
    unshare(CLONE_NEWNS | (0 if options.network else CLONE_NEWNET))
    _mount("--make-rprivate", "/")
    root, upper = run / "root", run / "upper"
    for directory in (root, upper, run / "work", run / "tmp"):
        directory.mkdir()
    (run / "tmp").chmod(0o1777)
    layers = f"lowerdir={tree},upperdir={upper},workdir={run / 'work'},volatile"
    _mount("-t", "overlay", "-o", layers, "overlay", root)
    _mount("-t", "proc", "proc", root / "proc")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "run")
    (root / "run/lock").mkdir(mode=0o1777)
    _mount("--bind", run / "tmp", root / "tmp")
    if options.devices:
        bind(Path("/sys"), root / "sys")
        bind(Path("/dev"), root / "dev")
    else:
        _mount("-t", "sysfs", "-o", "ro", "sysfs", root / "sys")
        make_devices(root / "dev")
    if options.network:
        for name in map(Path, NETWORK_FILES):
            if name.exists():
                copy_file(name, root)
        for directory in pip_configuration(root):
            bind(directory, root / directory.relative_to("/"), read_only=True)
    else:
        loopback_up()
    for source, target, read_only in options.bind:
        bind(source, root / target.relative_to("/"), read_only)
    for source, target in options.copy:
        copy_tree(source, root / target.relative_to("/"))
    return root


def change_root(root: Path) -> None:
    """Makes this the root of the mount namespace, as on a machine, where a mere chroot(2) has names above it.

    The kernel names a file from there where a process cannot reach it: in /proc/swaps, for one.
    """
    os.chdir(root)
    # the old root goes to the same place, where it is unmounted
    subprocess.run(["pivot_root", ".", "."], check=True)
    _check(_libc.umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/")


def environment(options: argparse.Namespace, home: str) -> dict[str, str]:
    passed_on = PASSED_ON + (("PIP_", *CERTIFICATE_VARIABLES, *PROXY_VARIABLES) if options.network else ())
    return {
        **{name: value for name, value in os.environ.items() if name.startswith(passed_on)},
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": home,
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }


def first_process(tree: Path, run: Path, options: argparse.Namespace) -> int:
    """What process 1 of the chroot does: it mounts, starts the command and waits for all orphans."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    change_root(prepare(tree, run, options))
    account = pwd.getpwnam(options.user)
    if options.user != "root":
        for _, target in options.copy:
            subprocess.run(["chown", "-R", options.user, str(target)], check=True)
    command = os.fork()
    if command == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.initgroups(options.user, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            os.chdir(options.cwd)
            os.execvpe(options.command[0], options.command, environment(options, account.pw_dir))
        except OSError as error:
            print(f"chroot.py: {options.command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127)

    def forward(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(command, number)

    signal.signal(signal.SIGTERM, forward)
    while True:
        process, status = os.wait()
        if process == command:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def run_command(tree: Path, run: Path, options: argparse.Namespace) -> int:
    """Its exit status, when no process of the chroot is left."""
    ours = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        status = 126
        try:
            status = first_process(tree, run, options)
        except (OSError, KeyError, subprocess.CalledProcessError) as error:
            print(f"chroot.py: {error}", file=sys.stderr)
        finally:
            os._exit(status)
    setns(ours, CLONE_NEWPID)
    os.close(ours)

    def end(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            if number == signal.SIGALRM:
                os.kill(child, signal.SIGKILL)
                return
            # the terminal sends SIGINT to the command as well
            if number != signal.SIGINT:
                os.kill(child, signal.SIGTERM)
        signal.alarm(GRACE_SECONDS)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, end)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _bind_argument(text: str) -> tuple[Path, Path, bool]:
    read_only = text.endswith(":ro")
    source, _, target = text.removesuffix(":ro").partition(":")
    return Path(source).resolve(strict=True), Path(target or source).absolute(), read_only


def _copy_argument(text: str) -> tuple[Path, Path]:
    source, colon, target = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text}: TREE:DESTINATION is wanted")
    return Path(source).resolve(strict=True), Path(target)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        usage="%(prog)s [OPTION...] SUITE -- COMMAND...",
    )
    parser.add_argument("--include", action="append", default=[], metavar="PKG,PKG", help="packages to have")
    parser.add_argument("--arch", default=native(), help="Debian's name of a processor")
    parser.add_argument("--no-network", dest="network", action="store_false", help="the loopback device only")
    parser.add_argument("--devices", action="store_true", help="/dev and /sys of the machine")
    parser.add_argument("--bind", action="append", default=[], type=_bind_argument, metavar="SRC[:DST][:ro]")
    parser.add_argument("--copy", action="append", default=[], type=_copy_argument, metavar="TREE:DST")
    parser.add_argument("--cwd", help="directory of the command; default: that of the first --copy, or /")
    parser.add_argument("--user", default="root", help="who runs the command")
    parser.add_argument("suite", metavar="SUITE", help="bookworm, trixie, sid")
    parser.add_argument("command", metavar="COMMAND", nargs="*", help="none: make the cached tree only")
    options = parser.parse_args()
    options.cwd = options.cwd or str(options.copy[0][1] if options.copy else "/")
    options.include = sorted({name for names in options.include for name in names.split(",") if name})
    return options


def main() -> int:
    options = arguments()
    if os.geteuid():
        sys.exit("chroot.py: only root can do this")
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        tree = base(options.suite, options.arch, options.include)
    except subprocess.CalledProcessError as error:
        sys.exit(f"chroot.py: failed: {shlex.join(error.cmd)}")
    if not options.command:
        return 0
    with ExitStack() as stack:
        # the tree must stay while it is used; the directory of this run must not be taken for one left behind
        stack.enter_context(locked(lock_of(tree), fcntl.LOCK_SH))
        with locked(CACHE / "lock", fcntl.LOCK_EX):
            remove_stale()
            run = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
            stack.enter_context(locked(run, fcntl.LOCK_EX))
        stack.callback(remove, run)
        run.chmod(0o755)
        return run_command(tree, run, options)


if __name__ == "__main__":
    sys.exit(main())
