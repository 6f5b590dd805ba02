# SPDX-License-Identifier: GPL-2.0-or-later
"""The candidates that real shells offer with the completion files of this repository."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from machine import GHOSTCTL, REPOSITORY
from stepwise import TIMEOUT

FILES = REPOSITORY / "completions"

# the words are split as readline does: blanks, and "=" is a word
_BASH = r"""
source "$1"
compopt() { :; }
line=$2
read -ra COMP_WORDS <<<"${line//=/ = }"
[[ $line == *[[:blank:]] ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
COMP_LINE=$line COMP_POINT=${#line}
_ghostctl
printf '%s\n' "${COMPREPLY[@]}"
"""

# "$" after a tab stands for the end of the test
_TYPED_IN_BASH = r"""
PS1=ready
source "$COMPLETIONS/ghostctl.bash"
__finish() { printf '%s\n' "$READLINE_LINE" >"$LINE_AFTERWARDS"; exec true; }
bind -x '"$": __finish'
"""

_ZSH = r"""
PS1=
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit
compinit -u -d $ZDOTDIR/.zcompdump
compadd() {
  local -a offered
  # other functions ask it to fill an array only
  if [[ -n ${(M)@[1,(i)(-|--)]:#-[a-zA-Z]#[AOD]} ]]; then
    builtin compadd "$@"
    return
  fi
  builtin compadd -O offered "$@"
  (( $#offered )) && print -rl -- $offered >>$OFFERED
  builtin compadd "$@"
}
zle-line-init() {
  BUFFER=$LINE_TO_COMPLETE CURSOR=$#LINE_TO_COMPLETE
  zle $WIDGET_TO_RUN
  print -r -- "$BUFFER" >$LINE_AFTERWARDS
  exit
}
zle -N zle-line-init
"""

Environment = dict[str, str]


def _environment() -> Environment:
    return {
        **os.environ,
        "PATH": f"{GHOSTCTL.parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "TERM": "vt100",
    }


def bash(line: str, _home: Path, prefix: Sequence[str] = ()) -> set[str]:
    """As bash completes it; `prefix` goes before the shell."""
    command = [*prefix, "bash", "--norc", "-c", _BASH, "bash", str(FILES / "ghostctl.bash"), line]
    done = subprocess.run(
        command, env=_environment(), capture_output=True, encoding="utf-8", timeout=TIMEOUT, check=True
    )
    assert not done.stderr
    return set(filter(None, done.stdout.split("\n")))


def zsh(line: str, home: Path, prefix: Sequence[str] = (), widget: str = "list-choices") -> set[str]:
    """As zsh completes it, on a terminal of its own."""
    (home / ".zshrc").write_text(_ZSH)
    offered = home / "offered"
    offered.write_text("")
    environment = {
        **_environment(),
        "ZDOTDIR": str(home),
        "COMPLETIONS": str(FILES),
        "OFFERED": str(offered),
        "LINE_TO_COMPLETE": line,
        "LINE_AFTERWARDS": str(home / "line"),
        "WIDGET_TO_RUN": widget,
    }
    screen = _on_terminal([*prefix, "zsh", "-o", "no_global_rcs", "-i"], environment)
    assert b"_arguments:" not in screen, screen
    assert b"not found" not in screen, screen
    return set(filter(None, offered.read_text().split("\n")))


def _on_terminal(command: Sequence[str], environment: Environment, typed: bytes = b"") -> bytes:
    """What a shell shows on a terminal of its own; `typed` is for its first prompt, which is "ready"."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        screen = b""
        try:
            while data := os.read(ours, 65536):
                screen += data
                if typed and b"ready" in screen:
                    os.write(ours, typed)
                    typed = b""
        except OSError:
            pass  # EIO: it has ended
        process.wait(TIMEOUT)
    finally:
        os.close(ours)
    return screen


def fish(line: str, home: Path, prefix: Sequence[str] = (), how: str = "") -> set[str]:
    """As fish completes it."""
    command = f'source $argv[1]; complete {how} -C "$argv[2]"'
    done = subprocess.run(
        [*prefix, "fish", "--no-config", "-c", command, str(FILES / "ghostctl.fish"), line],
        env={**_environment(), "HOME": str(home)},
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=True,
    )
    assert not done.stderr
    return {offered.split("\t")[0] for offered in done.stdout.splitlines()}


SHELLS: dict[str, Callable[..., set[str]]] = {"bash": bash, "zsh": zsh, "fish": fish}


def _tab_bash(line: str, home: Path, prefix: Sequence[str]) -> str:
    (home / "bashrc").write_text(_TYPED_IN_BASH)
    environment = {**_environment(), "COMPLETIONS": str(FILES), "LINE_AFTERWARDS": str(home / "line")}
    command = [*prefix, "bash", "--noprofile", "--rcfile", str(home / "bashrc"), "-i"]
    _on_terminal(command, environment, f"{line}\t$".encode())
    return (home / "line").read_text()


def _tab_zsh(line: str, home: Path, prefix: Sequence[str]) -> str:
    zsh(line, home, prefix, "complete-word")
    return (home / "line").read_text()


def _tab_fish(line: str, home: Path, prefix: Sequence[str]) -> str:
    (word,) = fish(line, home, prefix, "--escape")
    return word


_TAB: dict[str, Callable[[str, Path, Sequence[str]], str]] = {
    "bash": _tab_bash,
    "zsh": _tab_zsh,
    "fish": _tab_fish,
}


def tab(shell: str, line: str, home: Path, prefix: Sequence[str] = ()) -> str:
    """The last word, as a command gets it, after this line and a tab; there must be one candidate."""
    return shlex.split(_TAB[shell](line, home, prefix))[-1]
