# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts this checkout into the virtual environment of the Python that runs this, without pip.

For `make test DEPS=`: what `pip install --editable` does, where the Python packages that the program and its
tests need are those of the distribution.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import install


def main() -> None:
    packages, scripts = Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("scripts"))
    (packages / "ghostctl.pth").write_text(f"{install.SOURCE / 'src'}\n", encoding="utf-8")
    install.write(packages / install.DIST_INFO / "METADATA", install.metadata(), 0o644)
    program = f"#!{sys.executable}\nimport sys\n\nfrom ghostctl.cli import main\n\nsys.exit(main())\n"
    install.write(scripts / "ghostctl", os.fsencode(program), 0o755)


if __name__ == "__main__":
    main()
