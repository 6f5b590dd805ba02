# SPDX-License-Identifier: GPL-2.0-or-later
"""The init scripts of packaging/, run by what Debian's openrc and sysvinit run them with.

The packages are not installed. They are unpacked, and a mount namespace has them over /usr and /etc: there
the scripts are installed, and everything else is read-only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import machine
import pytest
import zramdevices
from machine import require, run
from stepwise import TIMEOUT

from ghostctl import header, swaps

SCRIPTS = machine.REPOSITORY / "packaging"
SIZE = 8 << 20
OPTIONS = f"x-ghost.size=8M,x-ghost.label={zramdevices.LABEL},nofail,pri=5"
# what init gives to its scripts
ENVIRONMENT = ("env", "-i", "PATH=/sbin:/usr/sbin:/bin:/usr/bin", "TERM=dumb", "LC_ALL=C.UTF-8")

# cat lives until the test is over, and the namespace with it: an area's name in /proc/swaps wants the /dev
# that it was activated in
NAMESPACE = """
mount --bind "$3" "$3"
mount -t overlay -o "lowerdir=/etc,upperdir=$2/etc,workdir=$2/work" overlay /etc
mount -t overlay -o "lowerdir=$1/usr:/usr" overlay /usr
mount --bind "$2/run" /run
mount -o remount,bind,ro /
echo ready
exec cat
"""


class Root(NamedTuple):
    """A machine with another init system, as far as the scripts see it."""

    tree: Path
    """Its / from outside: an overlay does not see what is written past it."""
    ghost: Path
    namespace: tuple[str, ...]

    def declare(self, options: str, ghost: Path | None = None) -> None:
        (self.tree / "etc/fstab").write_text(f"{ghost or self.ghost} none swap {options} 0 0\n")

    def do(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.namespace, *ENVIRONMENT, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def succeed(self, *words: str) -> str:
        done = self.do(*words)
        assert done.returncode == 0, done
        return done.stdout

    def priority(self) -> int | None:
        """Priority of the ghost's area; None when it has none."""
        names = {str(self.ghost), *(f"/dev/{name}" for name in zramdevices.labelled())}
        found = [area.prio for area in swaps.read() if area.name in names]
        assert len(found) <= 1
        return found[0] if found else None

    def is_made(self) -> bool:
        with open(self.ghost, "rb") as file:
            return header.unpack(file.read(zramdevices.PAGE)).pages == SIZE // zramdevices.PAGE


Make = Callable[[str], Root]


@pytest.fixture
def root(ghost_dir: Path, zram: None) -> Iterator[Make]:  # noqa: ARG001
    """``root("openrc")``: with that init system, its script and the line of a ghost; off at the end."""
    # what is written goes into memory where possible: the directory of a container may itself be an overlay,
    # and then another one cannot write there
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    holders: list[subprocess.Popen[bytes]] = []

    def make(system: str) -> Root:
        # the scripts take every area of ghostctl down
        require("zram", system, "no-area-of-ghostctl")
        directory = Path(name)
        packages = unpack(system, directory / "packages")
        upper = directory / "upper"
        for part in ("work", "run/openrc"):
            (upper / part).mkdir(parents=True)
        shutil.copytree(packages / "etc", upper / "etc", symlinks=True)
        for part in ("init.d", *(f"rc{level}.d" for level in "0123456S")):
            (upper / "etc" / part).mkdir(exist_ok=True)
            # without the services of this machine
            os.setxattr(upper / "etc" / part, "trusted.overlay.opaque", b"y")
        shutil.copy(SCRIPTS / system / "ghostctl", upper / "etc/init.d")
        holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", NAMESPACE, "sh", packages, upper, ghost_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stderr is not None
        assert holder.stdout.readline() == b"ready\n", holder.stderr.read()
        process = Path(f"/proc/{holder.pid}")
        made = Root(process / "root", ghost_dir / "ghost", ("nsenter", f"--mount={process / 'ns/mnt'}"))
        made.declare(f"{OPTIONS},x-ghost.fallback=zram")
        return made

    with tempfile.TemporaryDirectory(dir=memory) as name:
        try:
            yield make
        finally:
            # before the namespace ends, and with it the names in /proc/swaps
            machine.swapoff_below(ghost_dir)
            for device in zramdevices.labelled():
                if machine.is_active(f"/dev/{device}"):
                    run("swapoff", f"/dev/{device}")
            for holder in holders:
                holder.communicate(timeout=TIMEOUT)


def unpack(system: str, directory: Path) -> Path:
    """The packages of an init system, and ghostctl where its scripts look for it."""
    directory.mkdir()
    for package in machine.init_packages(system).glob("*.deb"):
        run("dpkg-deb", "--extract", package, directory)
    # where these are one, as they are in /
    for name in ("bin", "sbin", "lib"):
        if (directory / name).is_dir():
            shutil.copytree(directory / name, directory / "usr" / name, symlinks=True, dirs_exist_ok=True)
    (directory / "usr/local/bin").mkdir(parents=True)
    (directory / "usr/local/bin/ghostctl").symlink_to(machine.GHOSTCTL)
    return directory


@pytest.fixture
def openrc(root: Make) -> Root:
    made = root("openrc")
    # which it finds out by itself, and a container has no swap: `keyword` in the script says so
    with (made.tree / "etc/rc.conf").open("a") as conf:
        conf.write('\nrc_sys=""\n')
    # as if it had booted
    (made.tree / "run/openrc/softlevel").write_text("boot\n")
    made.succeed("rc-update", "--update")
    return made


@pytest.fixture
def sysvinit(root: Make) -> Root:
    return root("sysvinit")


UNMAKEABLE = "a directory of the ghost that is missing"
UNACTIVATABLE = "a kernel without ghost swap and a line without x-ghost.fallback"


def declare_failure(there: Root, why: str) -> str:
    """What the script has to print then."""
    if why == UNMAKEABLE:
        ghost = there.ghost.with_name("missing") / "ghost"
        there.declare(f"{OPTIONS},x-ghost.fallback=zram", ghost)
        return f"ghostctl: {ghost}: No such file or directory"
    there.declare(OPTIONS)
    return f"ghostctl: {there.ghost}: this kernel"


def test_openrc(openrc: Root) -> None:
    start = openrc.succeed("openrc-run", "/etc/init.d/ghostctl", "start")
    assert "Activating ghost swapfiles" in start
    assert openrc.is_made()
    assert openrc.priority() == 5
    assert "already been started" in openrc.succeed("rc-service", "ghostctl", "start")
    # also when it is not OpenRC that knows it
    openrc.succeed("rc-service", "ghostctl", "zap")
    assert openrc.do("rc-service", "ghostctl", "status").returncode == 3
    openrc.succeed("rc-service", "ghostctl", "start")
    assert openrc.priority() == 5
    assert "started" in openrc.succeed("rc-service", "ghostctl", "status")
    restart = openrc.succeed("rc-service", "ghostctl", "restart")
    assert restart.index("Deactivating ghost swapfiles") < restart.index("Activating ghost swapfiles")
    assert openrc.priority() == 5
    openrc.succeed("rc-service", "ghostctl", "stop")
    assert openrc.priority() is None
    assert openrc.do("rc-service", "ghostctl", "status").returncode == 3


@pytest.mark.parametrize("why", [UNMAKEABLE, UNACTIVATABLE])
def test_openrc_start_fails(openrc: Root, why: str) -> None:
    require("stock-kernel")
    reason = declare_failure(openrc, why)
    done = openrc.do("rc-service", "ghostctl", "start")
    assert done.returncode == 1
    assert reason in done.stdout
    assert "ghostctl failed to start" in done.stdout
    assert openrc.do("rc-service", "ghostctl", "status").returncode == 3


def test_openrc_order(openrc: Root) -> None:
    for name in ("mountall.sh", "ghostctl"):
        assert "added to runlevel boot" in openrc.succeed("rc-update", "add", name, "boot")
    assert "ghostctl | boot" in openrc.succeed("rc-update", "show", "boot")
    openrc.succeed("rc-update", "--update")
    # not for users, so it is in no PATH
    (program,) = (openrc.tree / "usr").glob("lib*/rc/bin/rc-depend")
    types = "ineed,iuse,iwant,iafter"
    order = openrc.succeed(f"/{program.relative_to(openrc.tree)}", "-t", types, "ghostctl")
    assert order.split()[-1] == "ghostctl"
    assert "mountall.sh" in order.split()
    openrc.succeed("rc-update", "del", "ghostctl", "boot")


def test_sysvinit(sysvinit: Root) -> None:
    script = "/etc/init.d/ghostctl"
    assert sysvinit.do(script, "status").returncode == 3
    assert "Activating ghost swapfiles" in sysvinit.succeed(script, "start")
    assert sysvinit.is_made()
    assert sysvinit.priority() == 5
    sysvinit.succeed(script, "start")
    assert sysvinit.priority() == 5
    assert str(sysvinit.ghost) in sysvinit.succeed(script, "status")
    for action in ("restart", "force-reload"):
        said = sysvinit.succeed(script, action)
        assert said.index("Deactivating ghost swapfiles") < said.index("Activating ghost swapfiles")
        assert sysvinit.priority() == 5
    for _ in range(2):
        sysvinit.succeed(script, "stop")
        assert sysvinit.priority() is None
    assert sysvinit.do(script, "status").returncode == 3
    other = sysvinit.do(script, "other")
    assert (other.returncode, other.stdout.split()[0]) == (2, "usage:")


@pytest.mark.parametrize("why", [UNMAKEABLE, UNACTIVATABLE])
def test_sysvinit_start_fails(sysvinit: Root, why: str) -> None:
    require("stock-kernel")
    reason = declare_failure(sysvinit, why)
    done = sysvinit.do("/etc/init.d/ghostctl", "start")
    assert done.returncode not in (0, 126, 127)
    assert reason in done.stdout
    assert "failed!" in done.stdout


def test_sysvinit_order(sysvinit: Root) -> None:
    services = ["mountkernfs.sh", "mountdevsubfs.sh", "hostname.sh", "checkroot.sh", "checkfs.sh"]
    services += ["checkroot-bootclean.sh", "mountall.sh", "umountfs"]
    sysvinit.succeed("insserv", *services)
    # sid's has words of Perl about itself
    assert "ghostctl" not in sysvinit.succeed("update-rc.d", "ghostctl", "defaults")
    # insserv finds nothing wrong, nor anything to change
    before = links(sysvinit)
    assert sysvinit.succeed("insserv", "ghostctl") == ""
    assert links(sysvinit) == before
    (start,) = (number for kind, number in before["rcS.d"]["ghostctl"] if kind == "S")
    assert start > before["rcS.d"]["mountall.sh"][0][1]
    for level in ("rc0.d", "rc6.d"):
        ((kind, number),) = before[level]["ghostctl"]
        assert kind == "K"
        assert number < before[level]["umountfs"][0][1]
    sysvinit.succeed("update-rc.d", "ghostctl", "remove")
    assert not any("ghostctl" in names for names in links(sysvinit).values())


def links(there: Root) -> dict[str, dict[str, list[tuple[str, int]]]]:
    """Of each directory rcN.d, the links to a service: ("S" or "K", its place)."""
    found: dict[str, dict[str, list[tuple[str, int]]]] = {}
    for directory in (there.tree / "etc").glob("rc?.d"):
        names = found.setdefault(directory.name, {})
        for link in directory.glob("[SK]*"):
            names.setdefault(link.name[3:], []).append((link.name[0], int(link.name[1:3])))
    return found
