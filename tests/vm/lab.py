#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels with and without ghost swap, and guests that run them; README has the whole story."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ghostctl-vm"

# Patches in kernel/SERIES, in the order they are applied; a kernel is called FLAVOUR-SERIES.
FLAVOURS: dict[str, tuple[str, ...]] = {
    "stock": (),
    "ghost": ("ghost.patch",),
    "interfaces": ("ghost.patch", "interfaces.patch"),
}
# The suite of Debian's archive that has the source; None: the machine's own.
SERIES: dict[str, str | None] = {"6.12": None, "7.2": "sid"}
KERNELS = tuple(f"{flavour}-{series}" for series in SERIES for flavour in FLAVOURS)

ROOT_OPTIONS = "trans=virtio,version=9p2000.L,cache=loose,msize=262144"

PACKAGES = [
    *("qemu-system-x86", "gcc", "make", "flex", "bison", "bc", "libc6-dev", "libelf-dev", "libssl-dev"),
    *("patch", "xz-utils", "e2fsprogs", "xfsprogs", "btrfs-progs", "busybox-static", "systemd"),
]
SPACE = 3 << 30
"""Bytes that the source of one series and its objects take, and a bit."""


class LabError(Exception):
    """The lab cannot do it; the text says what to do."""


class NoSource(LabError):
    """The archive has no source that the patches fit: it has moved on."""


class Guest(NamedTuple):
    """What is particular to the guests of one kernel."""

    words: list[str]
    """QEMU and its options for the machine, the processor and the kernel."""
    append: str
    """The kernel command line."""
    root: Path
    """The directory of the host that is the root."""
    python: str
    """The Python in it that has what the tests need."""


class Boot(NamedTuple):
    """How a guest ended."""

    status: int | None
    """Exit status of the command; None: it did not come to its end."""
    output: str
    """What the command wrote."""
    console: str
    """The serial console: the kernel's log, and systemd's."""
    seconds: float
    timed_out: bool
    state: str = ""
    """With systemd: what `systemctl is-system-running --wait` said."""
    journal: str = ""
    """With systemd: the journal of the boot, with monotonic times."""


def run(command: Sequence[str | Path], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-40:])
        raise LabError(f"{shlex.join(map(str, command))}: exit status {done.returncode}\n{tail}")
    return done.stdout


def _installed(packages: Sequence[str]) -> set[str]:
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *packages],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    lines = map(str.split, done.stdout.splitlines())
    return {line[1] for line in lines if line[0] == "installed"}


def install_packages(packages: Sequence[str] = tuple(PACKAGES)) -> None:
    have = _installed(packages)
    missing = [package for package in packages if package not in have]
    if not missing:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid():
        raise LabError(f"packages are missing; as root: {shlex.join(install)}")
    run(["apt-get", "update"])
    run(["env", "DEBIAN_FRONTEND=noninteractive", *install])


def own_archive(suite: str, directory: Path, architecture: str | None = None) -> list[str]:
    """Options for apt: see only this suite of the machine's archive, write only below the directory."""
    wanted = ["--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]
    lines = run(["apt-get", "indextargets", *wanted]).splitlines()
    labels = (line.rpartition(" ") for line in lines)
    uri = next((uri for label, _, uri in labels if label == "Debian"), None)
    if not uri:
        raise LabError("apt has no list of Debian's archive: run `apt-get update`")
    for name in ("lists/partial", "cache/archives/partial"):
        (directory / name).mkdir(parents=True)
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (directory / "list").write_text(f"deb [signed-by={keys}] {uri} {suite} main\n")
    options = {
        "Dir::Etc::sourcelist": directory / "list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": directory / "lists",
        "Dir::Cache": directory / "cache",
        "APT::Sandbox::User": "root",
    }
    if architecture:
        options |= {"APT::Architecture": architecture, "APT::Architectures": architecture}
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _download(series: str, directory: Path) -> Path:
    suite, package = SERIES[series], f"linux-source-{series}"
    options = own_archive(suite, directory) if suite else []
    if suite or not os.geteuid():
        run(["apt-get", *options, "-o", "APT::Update::Error-Mode=any", "update"])
    found = run(["apt-cache", *options, "search", "--names-only", "^linux-source-[0-9]"]).splitlines()
    have = [line.split()[0] for line in found]
    if package not in have:
        raise NoSource(f"{suite or 'apt'} has no {package}; it has {', '.join(have) or 'no kernel source'}")
    run(["apt-get", *options, "download", package], directory)
    (path,) = directory.glob("*.deb")
    return path


def _source_package(series: str) -> Path | None:
    """The package in the cache. Once there it stays: what was built is found again without a network."""
    return next(CACHE.glob(f"linux-source-{series}_*.deb"), None)


def _fetch(series: str) -> Path:
    if package := _source_package(series):
        return package
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=CACHE) as directory:
        package = _download(series, Path(directory))
        return package.rename(CACHE / package.name)


def _why_lacking(series: str) -> Path:
    return CACHE / f"no-linux-{series}"


def lack(series: str) -> str | None:
    """Why there are no kernels of a series; None when there are."""
    if all(image_path(f"{flavour}-{series}").exists() for flavour in FLAVOURS) and hog_path().exists():
        return None
    return _read(_why_lacking(series)) or f"no kernels in {CACHE}: run `make test-vm`"


def split(kernel: str) -> tuple[str, str]:
    """The flavour and the series of a kernel."""
    flavour, _, series = kernel.rpartition("-")
    return flavour, series


def _config(series: str) -> tuple[Path, Path]:
    return HERE / "kernel/config", HERE / "kernel" / series / "config"


def _patches(kernel: str) -> list[Path]:
    flavour, series = split(kernel)
    return [HERE / "kernel" / series / name for name in FLAVOURS[flavour]]


def image_path(kernel: str) -> Path:
    """Where the cache has this kernel, once it is built; without a source package, where nothing is."""
    _, series = split(kernel)
    package = _source_package(series)
    digest = hashlib.sha256(package.name.encode() if package else b"")
    for path in (*_config(series), *_patches(kernel)):
        digest.update(path.read_bytes())
    return CACHE / "kernels" / f"{kernel}-{digest.hexdigest()[:16]}"


def hog_path() -> Path:
    """Where the cache has the pressure program."""
    return CACHE / f"hog-{hashlib.sha256((HERE / 'hog.c').read_bytes()).hexdigest()[:16]}"


def _apply_patches(source: Path, patches: Sequence[Path]) -> None:
    """Bring the tree to exactly these patches. make sees by the mtime which files are other ones now."""
    pristine = source / ".pristine"
    before = {}
    for original in filter(Path.is_file, pristine.rglob("*")):
        path = source / original.relative_to(pristine)
        before[path] = path.read_bytes(), path.stat().st_mtime_ns
        shutil.copyfile(original, path)
    shutil.rmtree(pristine, ignore_errors=True)
    if patches:
        combined = source / ".patches"
        combined.write_bytes(b"".join(patch.read_bytes() for patch in patches))
        # In one run, because only a file's first backup in a run is the original.
        run(["patch", "-p1", "--fuzz=0", "--backup", "--prefix=.pristine/", f"--input={combined}"], source)
    for path, (content, mtime) in before.items():
        if path.read_bytes() == content:
            os.utime(path, ns=(mtime, mtime))


def _check_config(dot_config: Path, wanted: str) -> None:
    """Kconfig drops what it cannot have without a word."""
    have = set(dot_config.read_text().splitlines())
    dropped = [line for line in wanted.splitlines() if line.startswith("CONFIG_") and line not in have]
    if dropped:
        raise LabError(f"the kernel's .config has no {' '.join(dropped)}")


def _check_space() -> None:
    if (free := shutil.disk_usage(CACHE).free) < SPACE:
        raise LabError(f"{CACHE}: {free >> 20} MiB are free, {SPACE >> 20} MiB wanted to build a kernel")


def _unpack(package: Path, source: Path) -> None:
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    tar = f"./usr/src/{package.name.partition('_')[0]}.tar.xz"
    pipe = 'dpkg-deb --fsys-tarfile "$0" | tar -xO "$1" | tar -xJ --strip-components=1 -C "$2"'
    try:
        run(["bash", "-o", "pipefail", "-c", pipe, package, tar, source])
    except LabError as error:
        raise LabError(f"{package} cannot be unpacked; delete it to get it again\n{error}") from None


def _build_kernel(kernel: str, package: Path, image: Path) -> None:
    flavour, series = split(kernel)
    source, objects = (CACHE / f"{name}-{series}" for name in ("source", "objects"))
    whole = source / ".whole"
    if _read(whole) != package.name:
        shutil.rmtree(objects, ignore_errors=True)
        _unpack(package, source)
    whole.unlink(missing_ok=True)  # a change of patches that is cut off leaves a tree of no use
    _apply_patches(source, _patches(kernel))
    whole.write_text(package.name)

    objects.mkdir(exist_ok=True)
    config = "".join(path.read_text() for path in _config(series))
    (objects / "wanted").write_text(config)
    make: list[str | Path] = ["nice", "make", "-s", "-C", source, f"O={objects}", f"LOCALVERSION=-{flavour}"]
    run([*make, f"KCONFIG_ALLCONFIG={objects / 'wanted'}", "allnoconfig"])
    _check_config(objects / ".config", config)
    run([*make, f"-j{len(os.sched_getaffinity(0)) + 1}", "bzImage"])
    image.parent.mkdir(exist_ok=True)
    shutil.copyfile(objects / "arch/x86/boot/bzImage", image.with_suffix(".new"))
    image.with_suffix(".new").rename(image)


def build(kernels: Sequence[str]) -> None:
    """Build what the cache does not have of these kernels, and what guests need besides.

    A series whose source the archive does not have any more is passed over, with a line.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install_packages()
        hog = hog_path()
        if not hog.exists():
            run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", f"{hog}.new", HERE / "hog.c"])
            Path(f"{hog}.new").rename(hog)
        for series in SERIES:
            wanted = [kernel for kernel in kernels if kernel.endswith(f"-{series}")]
            if not wanted:
                continue
            if not all(image_path(kernel).exists() for kernel in wanted):
                _check_space()
            try:
                package = _fetch(series)
            except NoSource as error:
                print(f"{series}: passed over: {error}", file=sys.stderr, flush=True)
                _why_lacking(series).write_text(str(error))
                continue
            _why_lacking(series).unlink(missing_ok=True)
            for kernel in wanted:
                image, start = image_path(kernel), time.monotonic()
                if not image.exists():
                    print(f"{kernel}: building", flush=True)
                    _build_kernel(kernel, package, image)
                print(f"{kernel}: {image}, {time.monotonic() - start:.0f} s", flush=True)


@functools.cache
def accelerator() -> str:
    """KVM if a guest gets to its end with it: /dev/kvm alone says little inside a virtual machine."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    return "kvm" if boot(KERNELS[-1], "true", accel="kvm", timeout=8).status == 0 else "tcg"


def make_disk(path: Path, mib: int = 2048) -> Path:
    """A sparse image with an ext4, for boot(disk=...)."""
    with path.open("wb") as disk:
        disk.truncate(mib << 20)
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1", path])
    return path


def _guest(kernel: str, accel: str | None) -> Guest:
    if not image_path(kernel).exists() or not hog_path().exists():
        raise LabError(f"no {kernel} kernel in {CACHE}: run `make test-vm`")
    accel = accel or accelerator()
    # KVM in a virtual machine may know a feature that it cannot set: MSR_IA32_ARCH_CAPABILITIES.
    # What a newer processor has takes longer to emulate than it saves.
    cpu = "host,-arch-capabilities" if accel == "kvm" else "Nehalem"
    words = f"qemu-system-x86_64 -machine microvm,accel={accel},acpi=off,rtc=on -cpu {cpu} -kernel".split()
    ends = "reboot=t panic=-1 console=ttyS0 mitigations=off"
    root = f"root=host rootfstype=9p rootflags={ROOT_OPTIONS} ro"
    append = f"{root} init={HERE / 'init'} {ends}"
    return Guest([*words, str(image_path(kernel))], append, Path("/"), sys.executable)


def _qemu(
    guest: Guest, *, cpus: int, memory_mib: int, append: str, disk: Path, shares: dict[str, Path]
) -> list[str]:
    words = (
        f"-smp {cpus} -m {memory_mib}M -nodefaults -no-user-config -display none -serial stdio -no-reboot "
        "-device virtio-rng-device"
    ).split()
    words += ["-drive", f"file={disk},if=none,id=disk,format=raw,cache=unsafe"]
    words += ["-device", "virtio-blk-device,drive=disk"]
    for tag, path in shares.items():
        access = "" if tag == "lab" else ",readonly=on"
        words += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{access}"]
        words += ["-device", f"virtio-9p-device,fsdev={tag},mount_tag={tag}"]
    return [*guest.words, *words, "-append", f"{guest.append} {append}"]


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def boot(
    kernel: str | Guest,
    command: str,
    *,
    timeout: float = 300,
    cpus: int = 1,
    memory_mib: int = 512,
    disk: Path | None = None,
    share: Path | None = None,
    tree: Path | None = None,
    systemd: bool = False,
    accel: str | None = None,
    append: str = "",
) -> Boot:
    """Boots `kernel`, runs the shell command in it as root and returns how that went.

    The guest sees the files of this machine under the same paths; what it writes goes to memory and is lost,
    except in /run/lab, which is `share` (a temporary directory if not given), and in /var/lib/ghost, which
    is the ext4 on `disk` (a new one if not given). The files below `tree` are laid over the root first;
    without one, /etc/fstab is empty. With `systemd`, systemd is PID 1, boots to basic.target, and the command
    runs when no job is left. `append` goes to the kernel command line. Raises `LabError` if the kernel has
    not been built.
    """
    guest = kernel if isinstance(kernel, Guest) else _guest(kernel, accel)
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ghostctl-vm-")))
        share = share or temporary
        disk = disk or make_disk(temporary / "disk")
        for name in ("status", "output", "state", "journal"):
            (share / name).unlink(missing_ok=True)
        if guest.root == Path("/"):
            shutil.copy(hog_path(), share / "hog")
        (share / "command").write_text(command + "\n")
        (share / "mode").write_text("systemd" if systemd else "command")
        if systemd:
            append = f"systemd.unit=lab.target {append}"
        shares = {"host": guest.root, "lab": share} | ({"tree": tree} if tree else {})
        qemu = _qemu(guest, cpus=cpus, memory_mib=memory_mib, append=append, disk=disk, shares=shares)
        start = time.monotonic()
        with _running(qemu) as process:
            try:
                console, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                console, _ = process.communicate()
        seconds = time.monotonic() - start
        status = _read(share / "status").strip()
        return Boot(
            status=int(status) if status else None,
            output=_read(share / "output"),
            console=console.decode(errors="replace").replace("\r", ""),
            seconds=seconds,
            timed_out=seconds >= timeout,
            state=_read(share / "state").strip(),
            journal=_read(share / "journal"),
        )


@contextlib.contextmanager
def _running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    builder = actions.add_parser("build", help="build what the cache does not have")
    builder.add_argument("kernels", nargs="*", default=list(KERNELS))
    runner = actions.add_parser("run", help="boot a guest and run a shell command in it")
    runner.add_argument("--timeout", type=float, default=300)
    runner.add_argument("--cpus", type=int, default=1, help="one is the fastest when emulated")
    runner.add_argument("--memory-mib", type=int, default=512)
    runner.add_argument("--tree", type=Path, help="files laid over the guest's root")
    runner.add_argument("--disk", type=Path, help="image to be /var/lib/ghost; made if missing")
    runner.add_argument("--systemd", action="store_true", help="boot systemd first")
    runner.add_argument("--console", action="store_true", help="show the console, too")
    runner.add_argument("kernel", choices=list(KERNELS))
    runner.add_argument("command")
    options = vars(parser.parse_args())
    try:
        if options.pop("action") == "build":
            build(options["kernels"])
            return 0
        show_console, disk = options.pop("console"), options["disk"]
        if disk and not disk.exists():
            make_disk(disk)
        booted = boot(**options)
    except (LabError, OSError) as error:
        print(f"lab.py: {error}", file=sys.stderr)
        return 1
    if show_console or booted.status is None:
        print(booted.console, file=sys.stderr)
    sys.stdout.write(booted.output)
    ending = "time limit" if booted.timed_out else f"status {booted.status}"
    print(f"lab.py: {ending}, {booted.seconds:.1f} s {booted.state}", file=sys.stderr)
    return 1 if booted.status is None else booted.status


if __name__ == "__main__":
    sys.exit(main())
