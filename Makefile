# `make help` lists the targets. Nothing here is needed to use streamd: `pip install .` is enough.

VENV := .venv
BIN := $(VENV)/bin
# The first Python that is new enough; say `make PYTHON=...` to choose another.
PYTHON = $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)
# Debian puts servers where a user's PATH does not look.
export PATH := $(PATH):/usr/sbin:/sbin

# Where `make install` puts things; DESTDIR before all of it is for those who make packages.
PREFIX := /opt/streamd
CONFDIR := /etc/streamd
UNITDIR := /etc/systemd/system
DESTDIR :=
# The index of torch's CPU builds that pytorch.org names: for x86, where a plain install brings gigabytes of CUDA.
TORCH_INDEX :=
HERE = $(DESTDIR)$(PREFIX)

.PHONY: help install install-files uninstall demo test test-env check bench load bench-forecast bench-anomaly bench-streams bench-experts bench-page pictures soak simulate clean compiler
.DELETE_ON_ERROR:

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

install: install-files compiler  ## the program into PREFIX=/opt/streamd, a unit for systemd, a config; TORCH_INDEX=... on x86
	@test -n '$(PYTHON)' || { echo 'make: needs Python 3.11 or newer: apt-get install python3, or say PYTHON=...' >&2; exit 1; }
	@test ! -e '$(HERE)' -o -f '$(HERE)/pyvenv.cfg' || { echo 'make: $(HERE) is there and not ours; say PREFIX=...' >&2; exit 1; }
	$(PYTHON) -m venv '$(HERE)'
	'$(HERE)/bin/python' -m pip install -q --disable-pip-version-check $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)') -c constraints.txt torch
	'$(HERE)/bin/python' -m pip install -q --disable-pip-version-check -c constraints.txt .
	@rm -rf build *.egg-info
	@test -z '$(DESTDIR)' || grep -lIr '^#!$(DESTDIR)' '$(HERE)/bin' | xargs -r sed -i '1s|^#!$(DESTDIR)|#!|'
	'$(HERE)/bin/python' -m streamd --version
	@echo 'Next: your topics in $(CONFDIR)/streamd.toml, the password in $(CONFDIR)/mqtt-password, then'
	@echo '  systemctl daemon-reload && systemctl enable --now streamd'

install-files:  # all but the program; a config that is there is kept
	install -d -m 0755 '$(DESTDIR)$(CONFDIR)' '$(DESTDIR)$(UNITDIR)'
	test -e '$(DESTDIR)$(CONFDIR)/streamd.toml' || install -m 0644 deploy/streamd.toml '$(DESTDIR)$(CONFDIR)/streamd.toml'
	sed -e 's|/opt/streamd/|$(PREFIX)/|g; s|/etc/streamd/|$(CONFDIR)/|g' deploy/streamd.service > '$(DESTDIR)$(UNITDIR)/streamd.service'
	chmod 0644 '$(DESTDIR)$(UNITDIR)/streamd.service'

uninstall:  ## the program and the unit; config and state stay
	@test ! -e '$(HERE)' -o -f '$(HERE)/pyvenv.cfg' || { echo 'make: $(HERE) is not what make install made' >&2; exit 1; }
	rm -rf '$(HERE)'
	rm -f '$(DESTDIR)$(UNITDIR)/streamd.service'

demo: $(VENV)/for-demo  ## everything at once, on an embedded broker, with the page; SECONDS=60 ends it by itself
	@$(BIN)/streamd demo $(if $(SECONDS),--seconds $(SECONDS))

test: test-env  ## the tests, two files at a time; ARGS='-k word -x' goes to pytest
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

# Fetches Debian packages, $(1), for programs that are missing, or says which and $(2) without them.
define fetch
	sudo=; test "$$(id -u)" = 0 || sudo='sudo -n'; \
	if ! command -v apt-get >/dev/null || ! $$sudo true 2>/dev/null; then \
		echo "make: can't install$(1): needs apt-get, and root or sudo without a password; $(2)" >&2; \
		exit 0; \
	fi; \
	echo "installing$(1)" >&2; \
	$$sudo apt-get update -qq >&2 || echo 'make: apt-get update failed; trying with the lists there are' >&2; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(1) >/dev/null \
		|| echo "make: can't install$(1); $(2)" >&2
endef

test-env: $(VENV)/for-test  # what the tests need: the environment and, from apt, the servers
	@missing=; \
	for pair in mosquitto:mosquitto promtool:prometheus openssl:openssl systemd-analyze:systemd chromium:chromium; do \
		command -v "$${pair%:*}" >/dev/null || missing="$$missing $${pair#*:}"; \
	done; \
	test -n "$$missing" || exit 0; \
	$(call fetch,$$missing,tests that use them will fail)

check: $(VENV)/for-dev  ## format, lint, types and layers
	@$(BIN)/ruff format --quiet --check --diff .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --strict
	@$(BIN)/lint-imports

bench: $(VENV)/for-bench test-env  ## speed of the engine and end to end, beside a loop that only answers
	@$(BIN)/python tests/benchmarks/run.py $(ARGS)

load: $(VENV)/for-bench test-env  ## a load on a daemon of its own; ARGS='--rate 3000 --streams 200 --seconds 60'
	@$(BIN)/python tests/benchmarks/load.py $(ARGS)

bench-forecast: $(VENV)/for-bench  ## DATA=folder of data sets: what forecasts are worth there; ARGS='--sets ETTh1 --seeds 3'
	@test -n '$(DATA)' || { echo 'make: say DATA=folder, which holds ett/ and tutorials/' >&2; exit 2; }
	@$(BIN)/python tests/benchmarks/forecast.py $(DATA) $(ARGS)

bench-anomaly: $(VENV)/for-bench  ## DATA=folder of data sets: what scores and incidents are worth; ARGS='--sets nab --half even'
	@test -n '$(DATA)' || { echo 'make: say DATA=folder, which holds nab/, skab/ and smd/' >&2; exit 2; }
	@$(BIN)/python tests/benchmarks/anomaly.py $(DATA) $(ARGS)

bench-streams: $(VENV)/for-bench  ## random streams: how much the mix loses against the best expert; ARGS='--seed 2'
	@$(BIN)/python tests/benchmarks/streams.py $(ARGS)

bench-experts: $(VENV)/for-bench  ## CPU per reading of each part of the engine
	@$(BIN)/python tests/benchmarks/expert_cost.py $(ARGS)

bench-page: test-env  ## 5,000 streams on the page: first paint, updates, frames a browser draws, CPU; ARGS='--streams 500'
	@$(BIN)/python -m tests.benchmarks.page $(ARGS)

pictures: test-env  ## draw deploy/pictures/*.png anew, of the page on a demo plant
	@$(BIN)/python -m tests.browser.pictures $(ARGS)

simulate: $(VENV)/for-test  ## SEEDS=2000 simulated daemons through hours of bad weather each; ARGS='--seed 7' runs one again
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),200) $(ARGS)

soak: test-env  ## kill the daemon KILLS=1000 times at every moment, SEED=1; UNTIMED=1: readings without a time
	@$(BIN)/python -m tests.crash.kills --kills $(or $(KILLS),1000) --seed $(or $(SEED),1) $(if $(UNTIMED),--untimed)

clean:  ## remove the environment and what tools left behind
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find streamd tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -f streamd/kernel/*.so

$(VENV)/for-demo: EXTRAS = demo
$(VENV)/for-test: EXTRAS = demo,test
$(VENV)/for-bench: EXTRAS = demo,test,bench
$(VENV)/for-dev: EXTRAS = demo,test,dev

# One stamp for each purpose, so that pip runs only when what it would install has changed.
$(VENV)/for-%: pyproject.toml setup.py constraints.txt $(wildcard streamd/kernel/*.pyx) $(VENV)/made
	@echo 'installing streamd[$(EXTRAS)] into $(VENV); the first time takes minutes' >&2
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

# The kernels are C once Cython has read them: what is needed to compile them, from apt where it is missing.
compiler:
	@missing=; command -v cc >/dev/null || missing=' gcc libc6-dev'; \
	$(PYTHON) -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' \
		|| missing="$$missing python3-dev"; \
	test -n "$$missing" || exit 0; \
	$(call fetch,$$missing,the kernels can not be compiled)

# The stamp comes last: an environment that was cut short in the making is made anew.
$(VENV)/made: | compiler
	@test -n '$(PYTHON)' || { echo 'make: needs Python 3.11 or newer: apt-get install python3.11, or say PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		$(PYTHON) -c 'import sys; print("make: needs venv: apt-get install python%d.%d-venv" % sys.version_info[:2])' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@
