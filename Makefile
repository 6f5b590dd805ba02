# SPDX-License-Identifier: GPL-2.0-or-later
PYTHON ?= python3
PREFIX ?= /usr/local
DESTDIR ?=

# DEPS= takes the Python packages that the distribution has, without pip and without a network, for what is
# run from the checkout as for what is installed
DEPS ?= yes
VENV := $(if $(DEPS),.venv,.venv-system)
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

.PHONY: help demo test test-fast test-oldest test-arch test-vm test-vm-arm64 faults mutants lint bench against bench-vm man install install-package install-data uninstall deb rpm check-packages venv clean

help:
	@echo 'make demo      ghostctl setup: what it would do here; in small done for real, shown, and taken back'
	@echo 'make test      all tests that this machine can run'
	@echo '               DEPS=: with the Python packages of the distribution, without pip and network'
	@echo 'make test-chroot make demo and test in a clean Debian with its packages: SUITE=trixie DEPS=yes WHO=nobody'
	@echo 'make test-everywhere in bookworm, trixie and sid, with both kinds of packages, as root and as nobody'
	@echo 'make test-fast those that take about a minute together'
	@echo 'make test-oldest these with the oldest versions of the packages that ghostctl needs'
	@echo 'make test-vm   builds kernels with and without ghosts, tests in guests that run them (tests/vm/README)'
	@echo 'make test-arch the unit, golden and differential tests on arm64 and s390x, emulated: nightly'
	@echo 'make test-vm-arm64 in a guest with pages of 16 KiB: Debian for arm64, emulated'
	@echo 'make faults    a fault at each system call of each command that writes (tests/faults)'
	@echo 'make mutants   small faults put into a copy of src/: which do the fast tests not notice'
	@echo 'make lint      linters and type checks alone'
	@echo 'make bench     figures side by side, into docs/BENCHMARKS.md'
	@echo 'make against   every command beside what it was in another revision: BEFORE=HEAD~1'
	@echo 'make bench-vm  figures under memory pressure, in such guests, into docs/BENCHMARKS.md'
	@echo 'make man       show the man pages'
	@echo 'make install   DESTDIR= PREFIX=/usr/local'
	@echo 'make deb, rpm  packages for Debian, and for distributions with RPM, into dist/'
	@echo 'make check-packages builds, installs and purges them in clean chroots, as root on Debian'

venv: $(VENV)/.done

$(VENV)/.done: pyproject.toml
ifneq ($(DEPS),)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
else
	$(PYTHON) -m venv --without-pip --system-site-packages $(VENV)
	$(PY) tools/develop.py
endif
	$(PY) -m compileall -q src
	touch $@

demo: venv
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" sh tools/demo.sh

FAST := tests/unit tests/commands
SIDE_BY_SIDE := $(FAST) tests/lint tests/docs tests/install

# what needs the machine for itself comes alone, after the rest
test: venv
	$(PY) -m pytest -n $$(nproc) $(SIDE_BY_SIDE)
	$(PY) -m pytest $(addprefix --ignore=,$(SIDE_BY_SIDE))

test-fast: venv
	$(PY) -m pytest -n $$(nproc) $(FAST)

# Debian's packages are those of the clean system; what they lack, PyPI has
COMMA := ,
SUITE ?= trixie
WHO ?= root
SUITES := bookworm trixie sid
CHROOT_PACKAGES = git,make,python3$(if $(DEPS),-venv)
# not skipped there
CHROOT_REQUIRE = $(if $(filter root,$(WHO)),root$(COMMA)mount$(COMMA)mkswap$(COMMA)setpriv,mkswap)
DEBIAN_PYTHON := python3-click,python3-construct,python3-hypothesis,python3-jsonschema,python3-prometheus-client,python3-psutil,python3-pytest,python3-pytest-xdist,python3-pyudev

test-chroot: DEPS =
test-chroot:
	$(PYTHON) tools/chroot.py --include $(CHROOT_PACKAGES)$(if $(DEPS),,$(COMMA)$(DEBIAN_PYTHON) --no-network) \
		--devices --copy .:/src --user $(WHO) $(SUITE) -- make -C /src demo test DEPS=$(DEPS) GHOSTCTL_REQUIRE=$(CHROOT_REQUIRE)

test-everywhere:
	for suite in $(SUITES); do for deps in yes ''; do for who in root nobody; do \
		echo "$$suite DEPS=$$deps $$who" && \
		$(MAKE) test-chroot SUITE=$$suite DEPS=$$deps WHO=$$who || exit; \
	done; done; done

# the oldest versions that pyproject.toml declares
OLDEST := .venv-oldest
PRINT_OLDEST := import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	print(*(n.replace(">=", "==") for n in p["build-system"]["requires"] + p["project"]["dependencies"]))

test-oldest:
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install --quiet --disable-pip-version-check editables $$($(PYTHON) -c '$(PRINT_OLDEST)')
	$(OLDEST)/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --editable . \
		pytest pytest-xdist hypothesis jsonschema prometheus-client
	$(OLDEST)/bin/python -m pytest -n $$(nproc) $(FAST)

test-vm: venv
	$(PY) tests/vm/lab.py build
	GHOSTCTL_REQUIRE=$${GHOSTCTL_REQUIRE:-vm,linux-6.12} $(PY) -m pytest -n $$(nproc) --dist loadfile tests/vm

# In QEMU's user mode, as root: nightly rather than at each change. Two Debians, for two versions of Python.
ARCH_PACKAGES = acl,busybox-static,file,kmod,make,mount,$(DEBIAN_PYTHON)
ARCH_TESTS = tests/unit tests/golden tests/differential

test-arch: test-arch-arm64 test-arch-s390x

test-arch-s390x: SUITE = bookworm
# one without pointer authentication, which QEMU emulates slowly: 8 times faster
test-arch-arm64: EMULATED_CPU = QEMU_CPU=cortex-a72
test-arch-%: SUITE = trixie
test-arch-%:
	tools/emulated.py tools/chroot.py --no-network --arch $* --include $(ARCH_PACKAGES) --copy .:/src $(SUITE) -- \
		env $(EMULATED_CPU) sh -ec 'make -s venv DEPS=; GHOSTCTL_EXAMPLES=10 .venv-system/bin/python -m pytest -n $$(nproc) $(ARCH_TESTS)'

test-vm-arm64: venv
	$(PY) tests/vm/arm64.py
	GHOSTCTL_REQUIRE=$${GHOSTCTL_REQUIRE:-vm} $(PY) -m pytest tests/vm/guest/larger_pages.py

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
# they are. DEPS= leaves out the dependencies; COMPILE= leaves out bytecode. PYTHON is what runs the program, too.
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

# Packages are built in a copy: dpkg-buildpackage writes beside the tree that it builds
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
RELEASE := build/source/ghostctl-$(VERSION)
DEBFLAGS = -us -uc -b

.PHONY: $(RELEASE)
$(RELEASE):
	rm -rf build/source
	mkdir -p $@ dist
	tar -cf - --exclude-vcs --exclude=./build --exclude=./dist --exclude='./.venv*' --exclude='.*_cache' \
		--exclude=.hypothesis --exclude=__pycache__ . | tar -xf - -C $@

deb: $(RELEASE)
	cd $(RELEASE) && dpkg-buildpackage $(DEBFLAGS)
	mv build/source/ghostctl_* dist/

rpm: $(RELEASE)
	tar -C build/source -czf build/source/ghostctl-$(VERSION).tar.gz ghostctl-$(VERSION)
	rpmbuild -bb --quiet --define '_topdir $(CURDIR)/build/rpm' --define '_sourcedir $(CURDIR)/build/source' \
		--define '_rpmdir $(CURDIR)/dist' --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
		packaging/rpm/ghostctl.spec

check-packages:
	$(PYTHON) tests/packages/check.py

clean:
	rm -rf .venv .venv-system $(OLDEST) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
