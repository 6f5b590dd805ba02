#!/usr/bin/python
# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl setup, for Ansible."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: ghostctl_setup
short_description: Set up a ghost with ghostctl setup, or take it back
description:
  - Runs C(ghostctl setup), in check mode with C(--dry-run). What has changed is what it says.
  - The difference shown is that of fstab, and the steps.
options:
  state:
    description: C(absent) takes back what C(ghostctl setup) has made, the ghost O(file) or everything.
    type: str
    choices: [present, absent]
    default: present
  program:
    description: The program; without a slash it is looked for.
    type: str
    default: ghostctl
  file:
    description: Path of the ghost.
    type: path
  size:
    description: Size that the ghost declares.
    type: str
  priority:
    description: Priority of the area.
    type: int
  fallback:
    description: Backends, in order, for a kernel that takes no ghosts.
    type: list
    elements: str
  boot:
    description: Also for the next boots.
    type: bool
    default: true
  fstab:
    description: The fstab.
    type: path
    default: /etc/fstab
author: ghostctl
"""

EXAMPLES = """
- ghostctl_setup:
    size: 8G
    fallback: [zram]
- ghostctl_setup:
    state: absent
"""

RETURN = """
steps:
  description: The steps, each with C(id), C(what), C(changed) and C(error).
  type: list
  returned: when the program is there
setup:
  description: All that C(ghostctl setup --json) says.
  type: dict
  returned: when the program is there
"""

RECORD = "/var/lib/ghostctl/setup.json"
"""Where setup notes what it has made."""

NOT_FOUND = 3


def options(given: dict[str, Any]) -> list[str]:
    """The command line for what is asked for."""
    words = []
    if given["state"] == "absent":
        words.append("--undo")
    else:
        words += [f"--{name}={given[name]}" for name in ("size", "priority") if given[name] is not None]
        if given["fallback"]:
            words.append(f"--fallback={','.join(given['fallback'])}")
        if not given["boot"]:
            words.append("--no-boot")
    return [*words, f"--fstab={given['fstab']}", *(["--", given["file"]] if given["file"] else [])]


def read(path: str) -> str:
    """The text of an fstab, to be shown; empty without one."""
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def with_line(text: str, file: str, line: str) -> str:
    """An fstab with this line for a swap file, in the place of the one that it has."""
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, have in enumerate(lines):
        fields = have.split()
        if len(fields) > 2 and fields[2] == "swap":
            spec = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[0])
            if os.path.realpath(spec) == file:
                lines[number] = line
                break
    else:
        lines.append(line)
    return "\n".join(lines) + "\n"


def find(module: AnsibleModule) -> str:
    """The program. Ends the module when it is not there."""
    program: str = module.params["program"]
    if "/" not in program:
        program = module.get_bin_path(program, opt_dirs=["/usr/local/bin"]) or program
    if os.access(program, os.X_OK):
        return program
    if module.params["state"] == "absent" and not os.path.lexists(RECORD):
        module.exit_json(changed=False, msg="setup has made nothing")
    if module.check_mode and module.params["state"] == "present":
        module.exit_json(
            changed=False,
            skipped=True,
            msg=f"{program} is not there yet: it alone can tell what setup would do",
        )
    module.fail_json(msg=f"{program}: no such program")
    raise AssertionError


def run(module: AnsibleModule, program: str) -> dict[str, Any]:
    """What setup says it has done, or would do. Ends the module when it fails."""
    how = "--dry-run" if module.check_mode else "--yes"
    status, out, err = module.run_command([program, "setup", how, "--json", *options(module.params)])
    if status == NOT_FOUND and module.params["state"] == "absent" and not out:
        module.exit_json(changed=False, msg=err.strip())
    try:
        document: dict[str, Any] = json.loads(out)
    except ValueError:
        document = {"steps": [], "changed": False}
        status = status or 1
    if status:
        message = err.strip() or f"{program}: exit status {status}"
        module.fail_json(msg=message, rc=status, changed=document["changed"], steps=document["steps"])
    for line in err.splitlines():
        module.warn(line)
    return document


def main() -> None:
    """The module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "program": {"default": "ghostctl"},
            "file": {"type": "path"},
            "size": {},
            "priority": {"type": "int"},
            "fallback": {"type": "list", "elements": "str"},
            "boot": {"type": "bool", "default": True},
            "fstab": {"type": "path", "default": "/etc/fstab"},
        },
        supports_check_mode=True,
    )
    program, fstab = find(module), module.params["fstab"]
    before = read(fstab)
    document = run(module, program)
    after = read(fstab)
    steps = document["steps"]
    if module.check_mode and document.get("line") and any(step["id"] == "fstab" for step in steps):
        after = with_line(before, document["file"], document["line"])
    differences = (
        [{"prepared": "".join(f"{step['id']}: {step['what']}\n" for step in steps)}] if steps else []
    )
    if after != before:
        differences.append({"before_header": fstab, "after_header": fstab, "before": before, "after": after})
    module.exit_json(changed=document["changed"], steps=steps, setup=document, diff=differences)


if __name__ == "__main__":
    main()
