# make demo    segment real and drawn images, leave masks and overlays in demo/
# make test    run the tests (those marked gpu or docker are left out)
# make check   lint and test: exactly what CI runs
# Each target makes the environment that it needs. GPU=1 uses onnxruntime for CUDA in `env` and `demo`.

ifeq ($(GPU),1)
ENV := .venv-gpu
REQUIREMENTS := requirements.txt
else
ENV := .venv
REQUIREMENTS := requirements-cpu.txt
endif
DEV := .venv-dev

# the first Python of at least 3.11; PYTHON=... chooses another
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

.PHONY: env dev demo test lint check format clean

env: $(ENV)/.complete

dev: $(DEV)/.complete

demo: env
	$(ENV)/bin/python -m examples.demo

test: dev
	$(DEV)/bin/python -m pytest -q

lint: dev
	$(DEV)/bin/ruff format --check --quiet .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy .

check: lint test

format: dev
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

clean:
	rm -rf .venv .venv-gpu $(DEV) demo .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# an environment is made anew when its list changes, so nothing that was dropped from the list lingers
define make_environment
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with PYTHON=/path/to/python" >&2; exit 1; }
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
endef

$(ENV)/.complete: $(REQUIREMENTS) requirements-base.txt
	$(make_environment)

$(DEV)/.complete: requirements-dev.txt requirements-train.txt requirements-cpu.txt requirements-base.txt
	$(make_environment)
