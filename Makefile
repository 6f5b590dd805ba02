# SPDX-License-Identifier: GPL-2.0-or-later
PYTHON ?= python3
PREFIX ?= /usr/local
DESTDIR ?=

VENV := .venv
PY := $(VENV)/bin/python

# Where `make install` puts things: see there
LIBDIR = $(PREFIX)/lib/ghostctl
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
DOCDIR = $(PREFIX)/share/doc/ghostctl
UNITDIR = $(PREFIX)/lib/systemd/system
GENERATORDIR = $(PREFIX)/lib/systemd/system-generators
BASHCOMPDIR = $(PREFIX)/share/bash-completion/completions
# Debian's zsh reads vendor-completions of /usr, and site-functions of /usr/local
ZSHCOMPDIR = $(PREFIX)/share/zsh/$(if $(and $(filter /usr,$(PREFIX)),$(wildcard /etc/debian_version)),vendor-completions,site-functions)
# fish looks below /usr/local/share only where XDG_DATA_DIRS names it
FISHCOMPDIR = $(if $(filter /usr/local,$(PREFIX)),/etc/fish/completions,$(PREFIX)/share/fish/vendor_completions.d)

.PHONY: help demo test test-fast test-vm faults mutants lint bench against bench-vm man install install-package install-data uninstall venv clean

help:
	@echo 'make demo      ghostctl setup: what it would do here; in small done for real, shown, and taken back'
	@echo 'make test      all tests that this machine can run'
	@echo 'make test-fast those that take less than half a minute together'
	@echo 'make test-vm   builds kernels with and without ghosts, tests in guests that run them (tests/vm/README)'
	@echo 'make faults    a fault at each system call of each command that writes (tests/faults)'
	@echo 'make mutants   small faults put into a copy of src/: which do the fast tests not notice'
	@echo 'make lint      linters and type checks alone'
	@echo 'make bench     figures side by side, into docs/BENCHMARKS.md'
	@echo 'make against   every command beside what it was in another revision: BEFORE=HEAD~1'
	@echo 'make bench-vm  figures under memory pressure, in such guests, into docs/BENCHMARKS.md'
	@echo 'make man       show the man pages'
	@echo 'make install   DESTDIR= PREFIX=/usr/local'

venv: $(VENV)/.done

$(VENV)/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(PY) -m compileall -q src
	touch $@

demo: venv
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" sh tools/demo.sh

FAST := tests/unit tests/commands $(sort $(wildcard tests/test_*.py))
SIDE_BY_SIDE := $(FAST) tests/lint tests/docs

# what needs the machine for itself comes alone, after the rest
test: venv
	$(PY) -m pytest -n $$(nproc) $(SIDE_BY_SIDE)
	$(PY) -m pytest $(addprefix --ignore=,$(SIDE_BY_SIDE))

test-fast: venv
	$(PY) -m pytest -n $$(nproc) $(FAST)

test-vm: venv
	$(PY) tests/vm/lab.py build
	GHOSTCTL_REQUIRE=$${GHOSTCTL_REQUIRE:-vm,linux-6.12} $(PY) -m pytest -n $$(nproc) --dist loadfile tests/vm

faults: venv
	$(PY) tests/faults/campaign.py -j $$(nproc)

mutants: venv
	$(PY) tools/mutants.py

lint: venv
	$(PY) -m pytest tests/lint

against: venv
	$(PY) bench/against.py $(or $(BEFORE),HEAD~1)

bench: venv
	$(PY) -m compileall -q src
	$(PY) bench/commands.py
	$(PY) bench/generator.py

bench-vm: venv
	$(PY) tests/vm/lab.py build
	$(PY) bench/pressure.py

man:
	man -l man/ghostctl.8 man/ghostctl.5

# The package and what it needs go to a directory of their own, so that any Python's site-packages stay as
# they are. DEPS= leaves out the dependencies, and with them pip and the network, for distributions that
# package them; COMPILE= leaves out bytecode. PYTHON is what runs the program, too.
DEPS = yes
COMPILE = yes

install: install-package install-data

$(foreach name,DESTDIR LIBDIR BINDIR MANDIR DOCDIR UNITDIR GENERATORDIR BASHCOMPDIR ZSHCOMPDIR FISHCOMPDIR \
	DEPS COMPILE,$(eval install-package install-data uninstall: export $(name) := $$($(name))))

install-package:
	@$(PYTHON) -B tools/install.py package

# man pages, completions, generator, systemd units, examples
install-data:
	@$(PYTHON) -B tools/install.py data

uninstall:
	@$(PYTHON) -B tools/install.py uninstall

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
