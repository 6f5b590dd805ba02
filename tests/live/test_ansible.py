# SPDX-License-Identifier: GPL-2.0-or-later
"""The role of contrib/ansible, run by Ansible on this machine: set up, again, checked, taken back, again.

It runs in a mount namespace, which has an /etc, /var/lib, /run and /usr/local/bin of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import machine
import pytest
import stepwise
from machine import GHOSTCTL, REPOSITORY, active, ghostctl, require

from ghostctl import zswap

ANSIBLE = REPOSITORY / "contrib/ansible"
PLAYBOOK = ANSIBLE / "playbook.yml"
TIMEOUT = 300
FSTAB = b"# no line end behind the last line\n/dev/sda1 / ext4 defaults 0 1"
HAVE = ("ghostctl_install=none", f"ghostctl_program={GHOSTCTL}")

# cat lives until the test is over, and the namespace with it: an area's name in /proc/swaps wants the /dev
# that it was activated in
NAMESPACE = """
mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" overlay /etc
mount --bind "$2/lib" /var/lib
mount --bind "$2/bin" /usr/local/bin
mount --bind "$2/run" /run
echo ready
exec cat
"""


class Outcome(NamedTuple):
    status: int
    changed: int
    failed: int
    output: str


class State(NamedTuple):
    """What the role may change."""

    fstab: bytes
    zswap: dict[str, str]
    areas: list[bytes]
    devices: set[str]
    files: set[str]


class Host:
    """This machine, as Ansible sees it in the namespace."""

    def __init__(self, namespace: tuple[str, ...], root: Path, directory: Path) -> None:
        self.namespace = namespace
        self.root = root
        self.directory = directory

    def state(self) -> State:
        files = (path for part in ("bin", "lib", "opt") for path in (self.directory / part).rglob("*"))
        units = (self.root / "etc/systemd/system").glob("ghostctl*")
        return State(
            (self.root / "etc/fstab").read_bytes(),
            zswap.read_parameters(),
            active(),
            {path.name for path in Path("/sys/block").glob("zram*")},
            {str(path) for path in (*files, *units)},
        )

    def play(self, *words: str, path: str = "/usr/sbin:/usr/bin:/sbin:/bin") -> Outcome:
        """Runs the example playbook; words without a dash are variables."""
        options = [part for word in words for part in ([word] if word.startswith("-") else ["-e", word])]
        done = subprocess.run(
            [*self.namespace, _ansible_playbook(), "--inventory=localhost,", PLAYBOOK, *options],
            env={
                "PATH": path,
                "HOME": str(self.directory / "home"),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles"),
                "ANSIBLE_TRANSPORT": "local",
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                "ANSIBLE_LIBRARY": str(self.directory / "library"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        recap = re.search(r"^localhost .* changed=(\d+) .* failed=(\d+)", done.stdout, re.MULTILINE)
        assert recap is not None, done.stdout
        return Outcome(done.returncode, int(recap[1]), int(recap[2]), done.stdout)

    def succeed(self, *words: str, changed: bool) -> str:
        done = self.play(*words)
        assert (done.status, done.failed) == (0, 0), done.output
        assert (done.changed > 0) == changed, done.output
        return done.output


def _ansible_playbook() -> Path:
    return Path(sys.executable).with_name("ansible-playbook")


@pytest.fixture
def host(ghost_dir: Path, zram: None) -> Iterator[Host]:  # noqa: ARG001
    require("ansible", "mount", "zswap")
    for name in ("lib", "bin", "run", "home", "opt", "library"):
        (ghost_dir / name).mkdir()
    parameters = zswap.read_parameters()
    # the upper directory of an overlay cannot be on another one, as a container's is
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory) as upper:
        for name in ("etc/systemd/system", "work"):
            (Path(upper) / name).mkdir(parents=True)
        (Path(upper) / "etc/fstab").write_bytes(FSTAB)
        with subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", NAMESPACE, "sh", upper, ghost_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            process = Path(f"/proc/{holder.pid}")
            namespace = ("nsenter", f"--mount={process / 'ns/mnt'}")
            try:
                yield Host(namespace, process / "root", ghost_dir)
            finally:
                ghostctl("setup", "--undo", "--yes", prefix=namespace)
                for name, value in parameters.items():
                    (Path("/", zswap.PARAMETERS) / name).write_text(value)
                holder.communicate(timeout=stepwise.TIMEOUT)


def test_syntax(tmp_path: Path) -> None:
    require("ansible")
    readme = (ANSIBLE / "README.md").read_text()
    example = re.search(r"^ {4}- hosts:.*?\n\n", readme, re.MULTILINE | re.DOTALL)
    assert example is not None
    (tmp_path / "readme.yml").write_text(example[0])
    for playbook in (PLAYBOOK, tmp_path / "readme.yml"):
        machine.run(
            *("env", f"ANSIBLE_ROLES_PATH={ANSIBLE / 'roles'}", f"ANSIBLE_HOME={tmp_path}"),
            *(_ansible_playbook(), "--syntax-check", "--inventory=localhost,", playbook),
        )


def test_set_up_again_and_back(host: Host) -> None:
    ghost, spec = "/var/lib/ghost/a swap", r"/var/lib/ghost/a\040swap"
    words = (*HAVE, f"ghostctl_file='{ghost}'", "ghostctl_size=16M", "ghostctl_priority=7")
    before = host.state()
    line = f"{spec} none swap defaults,nofail,pri=7,x-ghost.size=16M,x-ghost.fallback=zram"
    looked = host.succeed("--check", "--diff", *words, changed=True)
    assert host.state() == before
    done = host.succeed("--diff", *words, changed=True)
    for output in (looked, done):
        assert f"\n+{line}" in output
        assert f"\nghost: make the ghost {ghost}, 16 MiB\n" in output
    there = host.state()
    assert line.encode() in there.fstab
    (area,) = json.loads(ghostctl("status", "--json", prefix=host.namespace).stdout)["swapareas"]
    assert (area["ghost"], area["prio"]) == (ghost, 7)
    for mode in ((), ("--check",)):
        assert "+++ after" not in host.succeed("--diff", *mode, *words, changed=False)
    other = host.succeed("--check", "--diff", *words, "ghostctl_priority=8", changed=True)
    lines = re.findall(r"^[-+]/.*", other, re.MULTILINE)
    assert [one.split()[0] for one in lines] == [f"-{spec}", f"+{spec}"]
    assert ["pri=7," in lines[0], "pri=8," in lines[1]] == [True, True]
    assert host.state() == there
    looked = host.succeed("--check", "--diff", *words, "ghostctl_state=absent", changed=True)
    assert f"\nfstab: remove the line of {ghost} from /etc/fstab\n" in looked
    assert host.state() == there
    done = host.succeed("--diff", *words, "ghostctl_state=absent", changed=True)
    assert f"\n-{line}" in done
    assert host.state() == before
    assert before.fstab == FSTAB
    for mode in ((), ("--check",)):
        host.succeed(*mode, *words, "ghostctl_state=absent", changed=False)


def test_not_for_the_next_boots(host: Host) -> None:
    words = (*HAVE, "ghostctl_size=16M", "ghostctl_file=/var/lib/a ghost", "ghostctl_boot=false")
    variables = json.dumps(dict(word.split("=") for word in words))
    before = host.state()
    host.succeed(variables, changed=True)
    assert host.state().fstab == FSTAB
    assert (host.directory / "lib/a ghost").stat().st_size == os.sysconf("SC_PAGE_SIZE")
    host.succeed(variables, changed=False)
    host.succeed(variables, "ghostctl_state=absent", changed=True)
    assert host.state() == before


@pytest.mark.parametrize("asked", [("--size", "ram*2"), ("--fallback", "ghostswap"), ("--size", "much")])
def test_the_message_and_the_hint_of_a_failure(host: Host, asked: tuple[str, str]) -> None:
    require("stock-kernel")
    direct = ghostctl("setup", "--yes", "--json", *asked, prefix=host.namespace)
    before = host.state()
    value = json.dumps({f"ghostctl_{asked[0][2:]}": [asked[1]] if asked[0] == "--fallback" else asked[1]})
    for mode in ((), ("--check",)):
        done = host.play(*mode, *HAVE, value)
        assert (done.status, done.changed, done.failed) == (2, 0, 1), done.output
        for said in direct.stderr.splitlines():
            # a hint may have the command line, which is the role's
            words = said.partition(" --")[0] if "hint: ghostctl setup" in said else said
            assert json.dumps(words)[1:-1] in done.output
    assert host.state() == before


def test_what_is_no_value(host: Host) -> None:
    for word in ("ghostctl_state=gone", "ghostctl_install=conda", "ghostctl_priority=high"):
        done = host.play(*HAVE, "ghostctl_size=16M", word)
        assert (done.status, done.changed, done.failed) == (2, 0, 1), done.output
    assert not (host.directory / "lib/ghost").exists()


def test_a_program_that_is_not_there(host: Host) -> None:
    missing = ("ghostctl_install=none", "ghostctl_program=no-ghostctl", "ghostctl_size=16M")
    done = host.play(*missing)
    assert (done.status, done.failed) == (2, 1)
    assert "no-ghostctl: no such program" in done.output
    host.succeed(*missing, "ghostctl_state=absent", changed=False)
    host.succeed("--check", *missing, changed=False)
    # what it made is there, and nothing can take it back
    host.succeed(*HAVE, "ghostctl_size=16M", changed=True)
    for mode in ((), ("--check",)):
        done = host.play(*mode, *missing, "ghostctl_state=absent")
        assert (done.status, done.failed) == (2, 1)


def test_a_package(host: Host) -> None:
    """With a module that only notes what the role asks of the package manager."""
    asked = host.directory / "asked"
    (host.directory / "library/noted.py").write_text(
        "from ansible.module_utils.basic import AnsibleModule\n"
        "module = AnsibleModule({'name': {}, 'state': {}})\n"
        f"with open('{asked}', 'a') as file:\n"
        "    print(module.params['state'], module.params['name'], file=file)\n"
        "module.exit_json(changed=False)\n"
    )
    (host.directory / "bin/ghostctl").symlink_to(GHOSTCTL)
    words = ("ghostctl_install=package", "ghostctl_package=ghost-tools", "ansible_package_use=noted")
    before = host.state()
    host.succeed(*words, "ghostctl_size=16M", changed=True)
    host.succeed(*words, "ghostctl_state=absent", changed=True)
    assert asked.read_text() == "present ghost-tools\nabsent ghost-tools\n"
    assert host.state() == before


def test_pip(host: Host) -> None:
    require("pypi")
    venv = host.directory / "opt/a venv"
    values = {
        "ghostctl_pip": str(REPOSITORY),
        "ghostctl_venv": str(venv),
        "ghostctl_python": sys.executable,
        "ghostctl_size": "16M",
    }
    words = json.dumps(values)
    before = host.state()
    assert "is not there yet" in host.succeed("--check", "-v", words, changed=True)
    assert host.state() == before
    host.succeed(words, changed=True)
    assert (host.directory / "bin/ghostctl").readlink() == venv / "bin/ghostctl"
    there = host.state()
    for mode in (("--check",), ()):
        host.succeed(*mode, words, changed=False)
    host.succeed("--check", words, "ghostctl_state=absent", changed=True)
    # bytecode is written by those who run it
    assert host.state()[:4] == there[:4]
    host.succeed(words, "ghostctl_state=absent", changed=True)
    assert host.state() == before
    host.succeed(words, "ghostctl_state=absent", changed=False)
