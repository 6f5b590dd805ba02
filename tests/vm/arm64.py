#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of another processor, with larger pages: Debian's own kernel for 64-bit ARM with pages of 16 KiB.

    tests/vm/arm64.py       makes what is missing

Their root is a Debian of that processor (tools/chroot.py, run by emulation), with the checkout in it. The
kernel has no ghosts and no 9p built in: a RAM disk loads the modules that make the root.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from vm import lab

KERNEL = "stock-arm64"
SUITE, IMAGE = "trixie", "linux-image-arm64-16k"
PACKAGES = [
    *("qemu-system-arm", "qemu-user-static", "mmdebstrap", "kmod", "xz-utils", "busybox-static"),
    "e2fsprogs",
]
ROOT_PACKAGES = [
    *("busybox-static", "file", "kmod", "mount", "python3-click", "python3-construct", "python3-psutil"),
    *("python3-pytest", "python3-pyudev"),
]
MODULES = ["virtio_mmio", "virtio_blk", "virtio-rng", "9pnet_virtio", "9p"]
"""What a guest wants before it has a root, which has the other modules."""
INIT = f"""\
#!/bin/busybox sh
for module in /modules/*; do busybox insmod $module; done
busybox mount -t 9p -o {lab.ROOT_OPTIONS},ro host /root
busybox mount -t devtmpfs devtmpfs /root/dev
exec busybox switch_root /root "$@"
"""


def _directory() -> Path:
    wanted = " ".join([SUITE, IMAGE, *ROOT_PACKAGES, *MODULES, INIT])
    return lab.CACHE / f"arm64-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"


def lack() -> str | None:
    """Why there is no such guest; None when there is."""
    return None if _directory().exists() else f"nothing in {_directory()}: run `make test-vm-arm64`"


def guest() -> lab.Guest:
    """For `lab.boot`. Raises `lab.LabError` if it has not been made."""
    if reason := lack():
        raise lab.LabError(reason)
    root = _directory() / "root"
    # the checkout appears in the root that QEMU shows to the guest, and nowhere else
    bind = 'mount --bind "$0" "$1" && shift && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", bind, str(lab.CHECKOUT), f"{root}{lab.CHECKOUT}"]
    words += ["qemu-system-aarch64", "-machine", "virt", "-accel", "tcg", "-cpu", "max,pauth-impdef=on"]
    words += ["-kernel", str(_directory() / "vmlinuz"), "-initrd", str(_directory() / "initrd")]
    return lab.Guest(words, f"panic=-1 console=ttyAMA0 -- {lab.HERE / 'init'}", root, "/usr/bin/python3")


def build() -> None:
    """Fetch the kernel, and make a root and a RAM disk."""
    lab.CACHE.mkdir(parents=True, exist_ok=True)
    with (
        (lab.CACHE / "arm64.lock").open("w") as lock,
        tempfile.TemporaryDirectory(prefix="arm64-", dir=lab.CACHE) as temporary,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if lack() is None:
            return
        lab.install_packages(PACKAGES)
        new = Path(temporary) / "new"
        _make_root(new / "root")
        release = _add_kernel(Path(temporary), new)
        _make_ram_disk(new, Path(temporary) / "disk", release)
        new.rename(_directory())


def _make_root(root: Path) -> None:
    print("a Debian for arm64, by emulation: that takes a while", flush=True)
    root.mkdir(parents=True)
    tools = f"{lab.CHECKOUT}/tools"
    chroot = [f"{tools}/chroot.py", "--no-network", "--arch", "arm64", "--include", ",".join(ROOT_PACKAGES)]
    copy = ["--bind", f"{root}:/mnt", SUITE, "--", "cp", "-ax", "/.", "/mnt"]
    lab.run([f"{tools}/emulated.py", *chroot, *copy])
    Path(f"{root}{lab.CHECKOUT}").mkdir(parents=True)


def _add_kernel(directory: Path, new: Path) -> str:
    """Its release, when it is there with its modules."""
    options = lab.own_archive(SUITE, directory, "arm64")
    lab.run(["apt-get", *options, "-o", "APT::Update::Error-Mode=any", "update"])
    depends = lab.run(["apt-cache", *options, "depends", IMAGE]).split()
    lab.run(["apt-get", *options, "download", depends[depends.index("Depends:") + 1]], directory)
    (package,) = directory.glob("*.deb")
    lab.run(["dpkg-deb", "-x", package, directory / "kernel"])
    (image,) = directory.glob("kernel/boot/vmlinuz-*")
    image.rename(new / "vmlinuz")
    release = image.name.partition("-")[2]
    modules = f"usr/lib/modules/{release}"
    (new / "root/usr/lib/modules").mkdir(exist_ok=True)
    (directory / "kernel" / modules).rename(new / "root" / modules)
    lab.run(["depmod", "-b", new / "root", release])
    return release


def _make_ram_disk(new: Path, disk: Path, release: str) -> None:
    for name in ("bin", "dev", "modules", "root"):
        (disk / name).mkdir(parents=True)
    lab.run(["cp", new / "root/bin/busybox", disk / "bin"])
    (disk / "init").write_text(INIT)
    (disk / "init").chmod(0o755)
    show = ["modprobe", "-d", f"{new}/root", "-S", release, "--show-depends", "-a", *MODULES]
    # lines "insmod FILE", in the order in which they are wanted
    files = dict.fromkeys(line.split()[1] for line in lab.run(show).splitlines() if line.startswith("insmod"))
    for number, name in enumerate(files):
        with (disk / f"modules/{number:02}.ko").open("wb") as file:
            subprocess.run(["xz", "-dc", name], stdout=file, check=True)
    lab.run(["sh", "-c", 'find . | busybox cpio -o -H newc >"$0"', new / "initrd"], disk)


if __name__ == "__main__":
    try:
        build()
    except lab.LabError as error:
        sys.exit(f"arm64.py: {error}")
