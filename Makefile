# SPDX-License-Identifier: GPL-2.0-or-later
PYTHON ?= python3
PREFIX ?= /usr/local
DESTDIR ?=

VENV := .venv
PY := $(VENV)/bin/python
libdir = $(PREFIX)/lib/ghostctl
bindir = $(PREFIX)/bin
mandir = $(PREFIX)/share/man
bashcompdir = $(PREFIX)/share/bash-completion/completions
zshcompdir = $(PREFIX)/share/zsh/site-functions
fishcompdir = $(PREFIX)/share/fish/vendor_completions.d
generatordir = $(or $(shell pkg-config --variable=systemdsystemgeneratordir systemd 2>/dev/null),/usr/lib/systemd/system-generators)

.PHONY: help demo test test-fast test-vm faults mutants lint bench against bench-vm man install uninstall venv clean

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
# they are. DEPS= leaves out the dependencies, for distributions that package them.
DEPS ?= yes

install:
	install -d '$(DESTDIR)$(libdir)' '$(DESTDIR)$(bindir)' \
		'$(DESTDIR)$(mandir)/man5' '$(DESTDIR)$(mandir)/man8' \
		'$(DESTDIR)$(bashcompdir)' '$(DESTDIR)$(zshcompdir)' '$(DESTDIR)$(fishcompdir)' \
		'$(DESTDIR)$(generatordir)'
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --upgrade \
		$(if $(DEPS),,--no-deps) --target '$(DESTDIR)$(libdir)' .
	rm -rf '$(DESTDIR)$(libdir)/bin' '$(DESTDIR)$(libdir)/share'
	for file in tools/launcher.in:'$(DESTDIR)$(bindir)/ghostctl' \
		src/ghostctl/ghostctl-generator.in:'$(DESTDIR)$(generatordir)/ghostctl-generator'; do \
		sed -e "s|@PYTHON@|$$($(PYTHON) -c 'import sys; print(sys.executable)')|" -e 's|@LIBDIR@|$(libdir)|' \
			-e 's|@GHOSTCTL@|$(bindir)/ghostctl|' "$${file%%:*}" >"$${file#*:}" && \
		chmod 755 "$${file#*:}" || exit; \
	done
	install -m 644 man/ghostctl.5 '$(DESTDIR)$(mandir)/man5/'
	install -m 644 man/ghostctl.8 man/ghostctl-generator.8 '$(DESTDIR)$(mandir)/man8/'
	install -m 644 completions/ghostctl.bash '$(DESTDIR)$(bashcompdir)/ghostctl'
	install -m 644 completions/_ghostctl '$(DESTDIR)$(zshcompdir)/'
	install -m 644 completions/ghostctl.fish '$(DESTDIR)$(fishcompdir)/'

uninstall:
	rm -rf '$(DESTDIR)$(libdir)'
	rm -f '$(DESTDIR)$(bindir)/ghostctl' '$(DESTDIR)$(generatordir)/ghostctl-generator' \
		'$(DESTDIR)$(mandir)/man5/ghostctl.5' \
		'$(DESTDIR)$(mandir)/man8/ghostctl.8' '$(DESTDIR)$(mandir)/man8/ghostctl-generator.8' \
		'$(DESTDIR)$(bashcompdir)/ghostctl' '$(DESTDIR)$(zshcompdir)/_ghostctl' \
		'$(DESTDIR)$(fishcompdir)/ghostctl.fish'

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
