# Two commands do everything, set-up included: `make demo` and `make test`.
PYTHON ?= $(shell scripts/python)
BIN := .venv/bin

.PHONY: setup demo test check test-vm bench docs lock sim clean

setup: .venv/ready            ## system packages and .venv

.venv/ready: requirements.lock pyproject.toml scripts/setup
	@scripts/setup

demo: setup                   ## the Fargate tutorial, with a real Apache
	@scripts/demo

test: setup                   ## all tests that run on one kernel
	@scripts/test $(ARGS)

check: setup                  ## linters, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-vm: setup                ## cgroup v2, systemd and a kernel of its own, under QEMU
	@scripts/test-vm

sim: setup                    ## the simulator: make sim SEEDS=1000
	$(BIN)/python -m homeport.sim --seeds $(or $(SEEDS),100)

bench: setup                  ## the measured figures; installs docker.io to compare with
	@bench/run $(ARGS)

docs: setup                   ## the generated parts of README and docs
	$(BIN)/python scripts/docs.py

lock:                         ## resolve requirements.lock anew
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--no-emit-options --no-header --no-annotate --allow-unsafe --strip-extras --extra dev \
		--output-file requirements.lock pyproject.toml requirements.in

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis
