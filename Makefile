# make demo    segment real and drawn images, leave masks and overlays in demo/
# make test    run the tests (those marked gpu or docker are left out)
# make check   lint and test: what CI runs everywhere
# make bench   draw images of 0.3 to 25 megapixels, time predict.py on each, report; IMAGE=mosaicell:cpu times a container
# make wheel   build the package with its weights: dist/mosaicell-VERSION-py3-none-any.whl
# make image   build the container image mosaicell:cpu; with GPU=1 mosaicell:latest
# make test-container    build the image, run the tests marked docker, which hold it to its contract
# Each target makes the environment that it needs. GPU=1 uses onnxruntime for CUDA in `env` and `demo`.
# BASE_IMAGE=... builds on another Debian 12 (docker/base-image.sh makes one where no registry is reached).

ifeq ($(GPU),1)
ENV := .venv-gpu
REQUIREMENTS := requirements.txt
TARGET := --target gpu --tag mosaicell:latest
else
ENV := .venv
REQUIREMENTS := requirements-cpu.txt
TARGET := --target cpu --tag mosaicell:cpu
endif
DEV := .venv-dev
DOCKER ?= docker
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# the security updates of another day are not those of the cache
TODAY = $(shell date +%F)

# the first Python of at least 3.11; PYTHON=... chooses another
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

.PHONY: env dev demo test lint check format lock wheel image test-container bench clean

env: $(ENV)/.complete

dev: $(DEV)/.complete

demo: env
	$(ENV)/bin/python -m examples.demo

# a file's tests stay together, as they share what they prepare
test: dev
	$(DEV)/bin/python -m pytest -q -n 2 --dist loadfile

BENCH ?= bench
TIMED = $(if $(IMAGE),--image $(IMAGE) $(if $(GPUS),--gpus $(GPUS)),--command "$(ENV)/bin/python predict.py --report")

bench: env
	$(ENV)/bin/python -m benchmarks.images $(BENCH)/images
	$(ENV)/bin/python -m evaluation.timing -i $(BENCH)/images -o $(BENCH)/timing --runs $(or $(RUNS),1) $(TIMED); \
	  status=$$?; test $$status -gt 1 || \
	  $(ENV)/bin/python -m evaluation.report $(BENCH)/timing --images $(BENCH)/images -o $(BENCH)/report.html || status=$$?; \
	  exit $$status

image:
	$(DOCKER) build $(BASE_IMAGE:%=--build-arg BASE_IMAGE=%) --build-arg REVISION=$(REVISION) \
	  --build-arg UPGRADED=$(TODAY) $(TARGET) .

wheel: dev
	$(DEV)/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

test-container: dev image
	$(DEV)/bin/python -m pytest -q -m docker

lint: dev
	$(DEV)/bin/ruff format --check --quiet .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy .

check: lint test

format: dev
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

# the image's packages with their hashes, without those that only evaluation and training import
LEFT_OUT := scipy scikit-image imageio jinja2 lazy-loader markupsafe networkx nvidia-ml-py pillow
UV := uv==0.13.9

lock: docker/requirements-gpu.lock docker/requirements-cpu.lock

docker/requirements-gpu.lock: requirements.txt requirements-base.txt
	$(make_lock)

docker/requirements-cpu.lock: requirements-cpu.txt requirements-base.txt
	$(make_lock)

clean:
	rm -rf .venv .venv-gpu .venv-lock $(DEV) demo dist $(BENCH) .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# an environment is made anew when its list changes, so nothing that was dropped from the list lingers
define make_environment
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with PYTHON=/path/to/python" >&2; exit 1; }
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
endef

define make_lock
	@test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet $(UV); }
	.venv-lock/bin/uv pip compile --quiet --no-config --generate-hashes --no-annotate --python-version 3.11 \
	  --only-binary :all: --custom-compile-command "make lock" $(LEFT_OUT:%=--no-emit-package %) $< -o $@
endef

$(ENV)/.complete: $(REQUIREMENTS) requirements-base.txt
	$(make_environment)

$(DEV)/.complete: requirements-dev.txt requirements-train.txt requirements-cpu.txt requirements-base.txt
	$(make_environment)
