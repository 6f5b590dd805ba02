# SPDX-License-Identifier: GPL-2.0-or-later
"""What the machine that runs the tests can do, how the program is run on it, and how it is put back.

A test says what it needs with `require`: what the machine lacks is a skip that names the reason, and a
failure when the environment variable GHOSTCTL_REQUIRE names it (``GHOSTCTL_REQUIRE=root,loop,swap pytest``;
``all,-vfat`` is everything but vfat).

The environment variable GHOSTCTL names the program where it is not that beside the Python that runs the
tests: ``GHOSTCTL=/usr/bin/ghostctl``. Every command is a start of that program then; what tests call in their
own process is the package that their Python imports.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import pytest
from stepwise import PROGRAM, TIMEOUT, Arg, forked
from vm import lab

from ghostctl import areas, generator, kernel, swaps

REPOSITORY = Path(__file__).parent.parent
GHOSTCTL = PROGRAM
HOG = REPOSITORY / "tests" / "hog.py"
SWAP_PLACES = (tempfile.gettempdir(), "/var/tmp", "/var/lib")  # noqa: S108
"""Where tests have ghosts and swap files: the first that can."""
CAP_SYS_ADMIN = 21


def _root() -> str | None:
    if os.geteuid() != 0:
        return "not root"
    status = Path("/proc/self/status").read_text()
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    if match is None or not int(match[1], 16) >> CAP_SYS_ADMIN & 1:
        return "root without CAP_SYS_ADMIN"
    return None


def _programs(*names: str) -> Callable[[], str | None]:
    def probe() -> str | None:
        missing = [name for name in names if shutil.which(name) is None]
        return f"no {', '.join(missing)}" if missing else None

    return probe


def _path(path: str) -> Callable[[], str | None]:
    return lambda: None if os.path.exists(path) else f"no {path}"


def _both(*probes: Callable[[], str | None]) -> Callable[[], str | None]:
    return lambda: next((reason for probe in probes if (reason := probe())), None)


def _in_kernel(kind: str) -> Callable[[], str | None]:
    def probe() -> str | None:
        known = Path("/proc/filesystems").read_text().split()
        # a module may still bring it
        modprobe = ["modprobe", "-qn", kind] if shutil.which("modprobe") else ["false"]
        if kind in known or subprocess.run(modprobe, check=False).returncode == 0:
            return None
        return f"the kernel has no {kind}"

    return probe


def _filesystem(kind: str) -> Callable[[], str | None]:
    return _both(_root, _path("/dev/loop-control"), _programs(f"mkfs.{kind}"), _in_kernel(kind))


def _cgroup() -> str | None:
    return None if cgroup_memory() else "no memory cgroup that can be made"


def cgroup_memory() -> Path | None:
    for path in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        if os.access(path, os.W_OK) and any(path.glob("memory.*")):
            return path
    return None


def limit_of(cgroup: Path) -> Path:
    """The file with the memory limit of a cgroup, of version 1 or 2."""
    names = ("memory.limit_in_bytes", "memory.max")
    (limit,) = [path for name in names if (path := cgroup / name).exists()]
    return limit


@contextmanager
def hog_in(cgroup: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a cgroup that has filled 24 MiB, and checks its pages when its input ends."""
    hog = subprocess.Popen(
        ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup, sys.executable, HOG, "24"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert hog.stdout is not None
        assert hog.stdout.readline() == b"ready\n"
        yield hog
    finally:
        hog.kill()
        hog.wait()


def _device_mapper() -> str | None:
    # which loads the module, where there is one
    done = subprocess.run(["dmsetup", "version"], capture_output=True, check=False)
    return "the kernel has no device mapper" if done.returncode else None


def _compressor(name: str) -> Callable[[], str | None]:
    def probe() -> str | None:
        if f": {name}\n" in Path("/proc/crypto").read_text():
            return None
        modprobe = ["modprobe", "-qn", f"crypto-{name}"] if shutil.which("modprobe") else ["false"]
        return f"the kernel has no {name}" if subprocess.run(modprobe, check=False).returncode else None

    return probe


def _library(name: str) -> Callable[[], str | None]:
    def probe() -> str | None:
        try:
            ctypes.CDLL(name)
        except OSError as error:
            return str(error)
        return None

    return probe


def _user_namespace() -> str | None:
    done = subprocess.run(["unshare", "--map-root-user", "true"], capture_output=True, check=False)
    return "no user namespace can be made" if done.returncode else None


INIT_PACKAGES = {
    "openrc": ("openrc", "librc1", "libeinfo1", "insserv", "initscripts"),
    "sysvinit": ("sysvinit-utils", "sysv-rc", "insserv", "initscripts"),
}
"""Debian's packages that make an init system; what else they depend on, every Debian has."""


def init_packages(system: str) -> Path:
    """The directory in the cache that has the packages of an init system. Raises `CalledProcessError`.

    They are not to be installed: that would change how the machine boots.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ghostctl-init"
    directory = cache / f"{platform.freedesktop_os_release().get('VERSION_CODENAME', 'debian')}-{system}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
                _download(INIT_PACKAGES[system], Path(name) / "packages").rename(directory)
    return directory


def _download(packages: Sequence[str], directory: Path) -> Path:
    directory.mkdir()
    download = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages]
    done = subprocess.run(download, cwd=directory, capture_output=True, check=False)
    if done.returncode:
        # apt's lists are missing or too old
        subprocess.run(["apt-get", "-q", "update"], capture_output=True, check=False)
        subprocess.run(download, cwd=directory, capture_output=True, text=True, check=True)
    return directory


def _init_system(system: str) -> Callable[[], str | None]:
    # without a network, not every test has to wait for it
    @functools.cache
    def probe() -> str | None:
        try:
            init_packages(system)
        except subprocess.CalledProcessError as error:
            return f"its packages cannot be downloaded: {error.stderr.strip()}"
        return None

    programs = _programs("apt-get", "dpkg-deb", "mount", "unshare", "nsenter")
    return _both(_root, programs, _in_kernel("overlay"), probe)


def _beside_python(name: str) -> Callable[[], str | None]:
    program = Path(sys.executable).with_name(name)
    return lambda: None if os.access(program, os.X_OK) else f"no {program}"


@functools.cache
def _pypi() -> str | None:
    with tempfile.TemporaryDirectory() as directory:
        download = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-cache-dir"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", *download, "--retries=1", "--dest", directory, "hatchling"],
            capture_output=True,
            text=True,
            check=False,
        )
    return f"pip finds nothing there: {done.stderr.strip()}" if done.returncode else None


def _unless(lacking: Callable[[], bool], reason: str) -> Callable[[], str | None]:
    return lambda: reason if lacking() else None


def _seccomp() -> str | None:
    # which QEMU's user mode has not
    command = [sys.executable, f"{REPOSITORY}/tests/refuse.py", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.splitlines()[-1] if done.returncode else None


def _security_attributes() -> str | None:
    with tempfile.NamedTemporaryFile() as file:
        try:
            os.setxattr(file.fileno(), "security.ima", b"\x04\x04" + bytes(32))
        except OSError as error:
            return f"security.ima cannot be set: {error.strerror}"
    return None


def _holes() -> str | None:
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
        file.seek(1 << 20)
        file.write(b"x")
        file.flush()
        blocks = os.fstat(file.fileno()).st_blocks
    return "the filesystem makes no holes" if blocks * 512 > 1 << 20 else None


def _page_cache() -> str | None:
    kind = run("stat", "--file-system", "--format=%T", tempfile.gettempdir()).strip()
    if kind in ("tmpfs", "overlayfs"):
        return f"files on {kind} are cached where fincore does not look"
    done = subprocess.run(["fincore", __file__], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else None


def _initial_user_namespace() -> str | None:
    # PROC_USER_INIT_INO of include/linux/proc_ns.h
    return None if os.readlink("/proc/self/ns/user") == f"user:[{0xEFFFFFFD}]" else "another one"


def _native() -> str | None:
    """Under QEMU's user mode the kernel knows another program, and another byte order perhaps."""
    with subprocess.Popen(["sleep", "60"]) as process:
        program = os.readlink(f"/proc/{process.pid}/exe")
        process.kill()
    return f"emulated by {program}" if "qemu" in program else None


def _swap_on_root() -> str | None:
    """The kernel names an area of another mount namespace from the top of its filesystem."""
    for place in SWAP_PLACES:
        kind = run("stat", "--file-system", "--format=%T", place).strip()
        if kind not in ("tmpfs", "overlayfs"):
            return None if os.stat(place).st_dev == os.stat("/").st_dev else f"{place} is not on that of /"
    return "no swap files can be there"


def _block_device() -> bool:
    return any(os.path.exists(f"/dev/{name}") for name in os.listdir("/sys/class/block"))


def _areas_readable() -> str | None:
    """What such a file is, also one of another mount namespace, not everything can tell."""
    files = (area.name for area in swaps.read() if area.type == "file")
    lost = [name for name in files if not os.access(name, os.R_OK)]
    return f"{lost[0]} cannot be read" if lost else None


def in_systemd_root(directory: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in a root of its own, with the fstab of the directory, which is its /mnt."""
    root = directory / "root"
    root.mkdir(exist_ok=True)
    program = REPOSITORY / "tests/systemd-root"
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", program, root, directory, script],
        env={"PATH": "/usr/sbin:/usr/bin", "SYSTEMD_LOG_TARGET": "console"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _systemd_no_container() -> str | None:
    """Its generator passes over swap areas in a container, which a namespace of processes is from 257 on."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "fstab").touch()
        done = in_systemd_root(Path(name), "systemd-detect-virt --container")
    return f"a container for systemd: {done.stdout.strip()}" if done.returncode == 0 else None


def _zswap_on() -> bool:
    enabled = Path("/sys/module/zswap/parameters/enabled")
    return enabled.exists() and enabled.read_text().strip() == "Y"


def _checkout() -> str | None:
    if reason := _programs("git")():
        return reason
    done = subprocess.run(["git", "-C", REPOSITORY, "rev-parse"], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else None


SYSTEMD_GENERATORS = Path("/usr/lib/systemd/system-generators")

CAPABILITIES: dict[str, Callable[[], str | None]] = {
    "root": _root,
    "swap": _both(_root, _path("/proc/swaps"), _programs("mkswap", "swapon", "swapoff")),
    "loop": _both(_root, _path("/dev/loop-control"), _programs("losetup")),
    "mount": _both(_root, _programs("mount", "umount", "unshare")),
    "ext4": _filesystem("ext4"),
    "xfs": _filesystem("xfs"),
    "btrfs": _filesystem("btrfs"),
    "vfat": _filesystem("vfat"),
    "fuse2fs": _both(_root, _programs("fuse2fs", "mkfs.ext4"), _path("/dev/fuse")),
    "dm": _both(_root, _programs("dmsetup"), _device_mapper),
    "cgroup": _both(_root, _cgroup),
    "zram": _both(_root, _path("/sys/class/zram-control")),
    **{system: _init_system(system) for system in INIT_PACKAGES},
    "setpriv": _both(_root, _programs("setpriv")),
    "acl": _both(_root, _programs("setfacl", "getfacl")),
    "mkswap": _programs("mkswap", "swaplabel", "blkid"),
    "file": _programs("file"),
    "mandoc": _programs("mandoc"),
    "bash": _programs("bash"),
    "zsh": _programs("zsh"),
    "fish": _programs("fish"),
    "tmux": _programs("tmux"),
    "strace": _programs("strace"),
    "promtool": _programs("promtool"),
    "node-exporter": _programs("prometheus-node-exporter"),
    "ansible": _both(_root, _programs("unshare", "nsenter"), _beside_python("ansible-playbook")),
    "pypi": _pypi,
    "systemd": _both(
        _programs("systemd-escape", "systemd-analyze", "systemd-detect-virt"),
        _path(f"{SYSTEMD_GENERATORS}/systemd-fstab-generator"),
    ),
    "systemd-no-container": _both(_root, _programs("systemd-detect-virt"), _systemd_no_container),
    "udevd": _path("/lib/systemd/systemd-udevd"),
    "vm": _programs("qemu-system-x86_64"),
    **{f"linux-{series}": partial(lab.lack, series) for series in lab.SERIES},
    "zswap": _path("/sys/module/zswap/parameters"),
    "zswap-off": _unless(_zswap_on, "zswap is on"),
    "lzo": _compressor("lzo"),
    "lzo-rle": _compressor("lzo-rle"),
    "deflate": _compressor("deflate"),
    "liblz4": _library("liblz4.so.1"),
    "liblzo2": _library("liblzo2.so.2"),
    "libzstd": _library("libzstd.so.1"),
    "latin-1": _both(_programs("localedef"), _path("/usr/share/i18n/locales/en_US")),
    "user-namespace": _user_namespace,
    "pages-4k": _unless(lambda: os.sysconf("SC_PAGE_SIZE") != 4096, "pages are not of 4096 bytes"),
    "no-container": _unless(lambda: generator.is_elsewhere({}), "the generator does nothing here"),
    "stock-kernel": _unless(lambda: kernel.may_have_ghosts() is not False, "this kernel may have ghosts"),
    "no-area-of-ghostctl": _unless(lambda: any(one.backend for one in areas.read()), "one is active"),
    "areas-readable": _areas_readable,
    "no-selinux": _unless(kernel.has_selinux, "SELinux is enabled"),
    "security-attributes": _both(_root, _security_attributes),
    "holes": _holes,
    "swap-on-root": _both(_root, _swap_on_root),
    "initial-user-namespace": _initial_user_namespace,
    "native": _native,
    "page-cache": _both(_programs("fincore"), _page_cache),
    "block-device": _unless(lambda: not _block_device(), "no block device"),
    "renameat2": _unless(lambda: not hasattr(ctypes.CDLL(None), "renameat2"), "libc has no renameat2"),
    "seccomp": _seccomp,
    "checkout": _checkout,
    **{tool: _beside_python(tool) for tool in ("ruff", "mypy", "pyright")},
    "host": _unless(lambda: "GHOSTCTL_GUEST" in os.environ, "a guest boots no guests"),
}
"""Names for `require` and GHOSTCTL_REQUIRE, each with a function that says why it is missing, or None."""


def required() -> set[str]:
    """The capabilities whose lack is a failure."""
    names = set(filter(None, os.environ.get("GHOSTCTL_REQUIRE", "").split(",")))
    if "all" in names:
        return CAPABILITIES.keys() - {name.removeprefix("-") for name in names if name.startswith("-")}
    return names


def require(*names: str) -> None:
    """Skips the test on a machine that lacks one of these; fails it when GHOSTCTL_REQUIRE names that one."""
    for name in names:
        if reason := CAPABILITIES[name]():
            if name in required():
                pytest.fail(f"{name} is required: {reason}", pytrace=False)
            pytest.skip(f"{name}: {reason}")


def ghostctl(
    *args: Arg,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] = subprocess.PIPE,
    prefix: Sequence[Arg] = (),
    umask: int = -1,
) -> subprocess.CompletedProcess[str]:
    """Runs the program; text with surrogates for what is not UTF-8. `prefix` goes before it.

    A fork runs it when nothing has to be before it: `started` is what it takes to start Python.
    """
    if prefix:
        return started(*args, cwd=cwd, env=env, stdout=stdout, prefix=prefix, umask=umask)
    fd = stdout if isinstance(stdout, int) else stdout.fileno()
    done = forked(
        *args, cwd=cwd, env=_environment(env), stdout=None if fd == subprocess.PIPE else fd, umask=umask
    )
    return subprocess.CompletedProcess(
        [GHOSTCTL, *args], done.status, done.out if fd == subprocess.PIPE else None, done.err
    )


def started(
    *args: Arg,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] = subprocess.PIPE,
    prefix: Sequence[Arg] = (),
    umask: int = -1,
) -> subprocess.CompletedProcess[str]:
    """Runs the installed program in a new Python, as users do."""
    return subprocess.run(
        [*prefix, GHOSTCTL, *args],
        cwd=cwd,
        env=_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=TIMEOUT,
        check=False,
        umask=umask,
    )


def _environment(given: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100", **(given or {})}


AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
"""A `prefix` for `ghostctl`: as a user without rights."""

SWAPS_HEADING = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"


def with_swaps(file: Path, *lines: str | bytes, heading: str = SWAPS_HEADING) -> tuple[str, ...]:
    """A `prefix` for `ghostctl`: where /proc/swaps is this file, which gets the heading and these lines."""
    file.write_bytes(b"".join(os.fsencode(line) + b"\n" for line in (heading, *lines)))
    return ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /proc/swaps && exec "$@"', str(file))


def run_hint(hint: str, fstab: Path) -> None:
    """Runs the command of a hint as a user would paste it, but on this fstab where it names none."""
    words = "ghostctl fstab "
    for action in ("add", "ensure", "remove", "set"):
        if f"{words}{action} -T " not in hint:
            hint = hint.replace(f"{words}{action} ", f"{words}{action} -T {shlex.quote(str(fstab))} ")
    done = subprocess.run(
        ["sh", "-ec", hint],
        env={**os.environ, "PATH": f"{GHOSTCTL.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{hint}\n{done.stderr}"


def run(*args: Arg, cwd: Path | None = None) -> str:
    """Runs another program, which must succeed; returns what it prints."""
    done = subprocess.run(
        args,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
    return done.stdout


def active() -> list[bytes]:
    """Names in /proc/swaps, unescaped, the last one first."""
    with open("/proc/swaps", "rb") as file:
        names = [line.split(b" ", 1)[0].split(b"\t", 1)[0] for line in file.read().split(b"\n")[1:-1]]
    return [re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), name) for name in reversed(names)]


def is_active(path: Arg) -> bool:
    """Whether /proc/swaps has this very name."""
    return os.fsencode(path) in active()


def swapoff_below(directory: Path) -> None:
    """Takes down every area below a directory."""
    for name in active():
        if name.startswith(os.fsencode(directory) + b"/"):
            subprocess.run([b"swapoff", name], check=False, timeout=TIMEOUT)


def unwritten(path: Path) -> tuple[int, ...]:
    """What of a file stays the same as long as nobody writes to it or replaces it.

    Not its time of access: with relatime the first read after a write sets it (mount(8)).
    """
    st = path.lstat()
    return st.st_dev, st.st_ino, st.st_mode, st.st_uid, st.st_size, st.st_mtime_ns, st.st_ctime_ns


def swap_file(path: Path, size: int = 1 << 20, *options: str) -> Path:
    """An ordinary swap file without holes."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)
    run("mkswap", "-q", *options, path)
    return path
