# SPDX-License-Identifier: GPL-2.0-or-later
"""Installs /out/*.deb in a chroot that has what it depends on, uses it, removes and purges it.

Run by tests/packages/check.py; needs no other module of the project, as the chroot has none.
"""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path("/sources/debian/tests")
WORK = Path(tempfile.mkdtemp())
CHANGING = {tempfile.gettempdir(), "/dev", "/proc", "/sys", "/out", "/sources", "/root"}
CHANGING |= {"/var/cache", "/var/log", "/var/lib/apt", "/var/lib/dpkg", "/run/lock"}
"""Not the program's: programs that install packages write there."""
PATIENCE = 20
"""Seconds for a shell."""
LIBRARY = "/usr/share/ghostctl"
GENERATOR = "/usr/lib/systemd/system-generators/ghostctl-generator"
LOCAL_GENERATOR = "/etc/systemd/system-generators/ghostctl-generator"
PERSISTENT = "/etc/tmpfiles.d/ghostctl-zswap.conf"
RECORD = "/var/lib/ghostctl/setup.json"
METRICS = "/var/lib/prometheus/node-exporter/ghostctl.prom"


problems: list[str] = []


def run(*command: str, user: str | None = None) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, user=user, check=False
    )
    sys.stdout.write(done.stdout)
    check(done.returncode == 0, " ".join(command[:4]))
    return done.stdout


def check(condition: object, what: str) -> None:
    print("ok" if condition else "NOT ok", what, flush=True)
    if not condition:
        problems.append(what)


def files() -> set[str]:
    """All files and directories, but for those that installations of any package change."""
    found = set()
    for directory, directories, names in os.walk("/"):
        directories[:] = [name for name in directories if os.path.join(directory, name) not in CHANGING]
        found |= {os.path.join(directory, name) for name in directories + names}
    return found


def typed(shell: list[str], keys: str, wanted: str) -> bool:
    """Whether a shell on a terminal shows this after these keys; its prompt is "ready"."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(shell[0], shell, {**os.environ, "TERM": "vt100", "HOME": str(WORK)})
    screen, sent, end = b"", False, time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end and wanted.encode() not in screen:
            if select.select([terminal], [], [], 0.2)[0]:
                screen += os.read(terminal, 65536)
            if not sent and b"ready" in screen:
                os.write(terminal, keys.encode())
                screen, sent = b"", True
    except OSError:
        pass  # EIO: the shell has ended
    os.kill(process, 9)
    os.waitpid(process, 0)
    os.close(terminal)
    print(screen.decode(errors="replace"))
    return sent and wanted.encode() in screen


def completions() -> None:
    """As the shells find them: nothing names the files."""
    bash = WORK / "bashrc"
    bash.write_text("PS1=ready\n. /usr/share/bash-completion/bash_completion\n")
    check(
        typed(["bash", "--noprofile", "--rcfile", str(bash), "-i"], "ghostctl inspe\t", "inspect"),
        "bash completes",
    )
    zsh = WORK / ".zshrc"
    zsh.write_text("PS1=ready\nautoload -Uz compinit\ncompinit -u -d ~/.zcompdump\n")
    check(typed(["zsh", "-o", "no_global_rcs", "-i"], "ghostctl inspe\t", "inspect"), "zsh completes")
    check("inspect" in run("fish", "-c", "complete -C 'ghostctl inspe'"), "fish completes")


def as_it_is_used() -> None:
    check(
        {"mkghost", "inspect"} <= set(run("ghostctl", "--help").split()), "ghostctl --help names its commands"
    )
    version = run("dpkg-query", "-W", "-f", "${Version}", "ghostctl")
    check(version in run("ghostctl", "--version"), "the program has the version of the package")
    for page in ("ghostctl.8", "ghostctl.5", "ghostctl-generator.8"):
        check(run("man", page), f"man {page}")
    check(os.access(GENERATOR, os.X_OK), GENERATOR)
    check(list(Path(LIBRARY).rglob("*.pyc")), "compiled where it is installed")
    completions()
    # below /tmp, as no kernel swaps to a file of the overlay that / is
    run("ghostctl", "setup", "--dry-run", str(WORK / "ghost"))
    for test in ("user", "generator"):
        run(str(TESTS / test), user="nobody")
    run(str(TESTS / "user"))
    check(not Path("/etc/systemd/system/timers.target.wants/ghostctl-metrics.timer").is_symlink(), "no timer")


def leave_files() -> None:
    """What the program writes below / in its life, with its own code."""
    code = (
        f"import sys; sys.path.insert(0, {LIBRARY!r})\n"
        "from ghostctl import atomic, installation, setuprecord, zswap\n"
        "zswap.persist({'max_pool_percent': '30'})\n"
        "installation.install()\n"
        "atomic.make_directories(setuprecord.os.path.dirname(setuprecord.PATH), 0o700)\n"
        f"atomic.edit(setuprecord.PATH, lambda _: {json.dumps({'version': 1, 'steps': []}).encode()!r})\n"
        "atomic.make_directories('/var/lib/ghost')\n"
    )
    run("python3", "-BI", "-c", code)
    Path(METRICS).parent.mkdir(parents=True)
    Path(METRICS).touch()
    run("systemctl", "enable", "ghostctl-metrics.timer")
    for path in (LOCAL_GENERATOR, PERSISTENT, RECORD, "/run/ghostctl", "/var/lib/ghost", METRICS):
        check(os.path.exists(path), f"written: {path}")


def main() -> None:
    os.chdir(WORK)
    before = files()
    run("apt-get", "install", "-qy", *map(str, Path("/out").glob("*.deb")))
    as_it_is_used()

    run("apt-get", "purge", "-qy", "ghostctl")
    check(sorted(files() ^ before) == [], f"nothing is left: {sorted(files() ^ before)}")

    run("apt-get", "install", "-qy", *map(str, Path("/out").glob("*.deb")))
    leave_files()
    run("apt-get", "remove", "-qy", "ghostctl")
    check(os.path.exists(PERSISTENT) and os.path.exists(RECORD), "removed, but not purged: settings stay")
    check(not os.path.exists(METRICS), "no metrics that nobody writes")
    # a boot in which the administrator's generator finds no program goes on
    units = WORK / "units"
    units.mkdir()
    run(LOCAL_GENERATOR, str(units), str(units), str(units))
    check(os.listdir(units) == [], "without the program the generator makes nothing, and does not fail")
    run("apt-get", "purge", "-qy", "ghostctl")
    shutil.rmtree("/var/lib/prometheus")
    check(sorted(files() ^ before) == [], f"nothing is left: {sorted(files() ^ before)}")

    # what is the administrator's stays
    run("apt-get", "install", "-qy", *map(str, Path("/out").glob("*.deb")))
    leave_files()
    Path("/var/lib/ghost/swap0").touch()
    Path(LOCAL_GENERATOR).write_text(
        Path(LOCAL_GENERATOR).read_text().replace(LIBRARY, "/usr/local/lib/ghostctl")
    )
    Path(PERSISTENT).write_text("# by hand\n")
    run("apt-get", "purge", "-qy", "ghostctl")
    for path in ("/var/lib/ghost/swap0", LOCAL_GENERATOR, PERSISTENT):
        check(os.path.exists(path), f"the administrator's stays: {path}")
    if problems:
        sys.exit("not ok: " + "\nnot ok: ".join(problems))


if __name__ == "__main__":
    main()
