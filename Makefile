# SPDX-License-Identifier: GPL-2.0-or-later
PYTHON ?= python3
VENV := .venv
.PHONY: venv
venv: $(VENV)/.done
$(VENV)/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q -e '.[dev]'
	touch $@
