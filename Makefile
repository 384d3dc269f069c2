# `make demo` and `make test` set everything up by themselves.
# `make report` and `make bench` take DATA=folder that holds MNIST/raw; `make bench` also PEER=a checkout of PyTorch-GAN
# to measure against.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ROOT_OF_MNIST = $(if $(DATA),--root "$(DATA)")

.PHONY: help setup demo test test-all lint report explore bench docs
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(INSTALLED) ## install everything into $(VENV)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Twofold needs Python 3.11 or newer; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup ## both lessons in a few minutes, and a page that shows them: runs/demo/index.html
	$(BIN)/python -m scripts.demo

test: lint ## the tests that take minutes
	$(BIN)/python -m pytest -n auto --dist loadfile

test-all: lint ## the tests that take up to an hour, too
	$(BIN)/python -m pytest -n auto --dist loadfile -m ''

lint: setup ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

report: setup ## the report within 75 minutes: report/index.html; FULL=1 trains the textbook recipe to its end
	$(BIN)/python -m scripts.report $(if $(filter-out 0,$(FULL)),--full) $(ROOT_OF_MNIST)

explore: setup ## a page to play with trained networks; RUNS=folder, by default runs, and PORT=number
	$(BIN)/python -m scripts.explore $(if $(RUNS),"$(RUNS)") $(if $(PORT),--port $(PORT))

bench: setup ## all benchmarks, hours; most skip what benchmarks/results holds
	$(BIN)/python -m benchmarks.lstm_kernels
	$(BIN)/python -m benchmarks.steps
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.explorer_latency
	$(BIN)/python -m benchmarks.crash_resume
	$(BIN)/python -m benchmarks.speed $(if $(PEER),--peer "$(PEER)") $(ROOT_OF_MNIST)
	$(BIN)/python -m benchmarks.gan $(ROOT_OF_MNIST)

docs: setup ## write the tables of README.md and docs/ from benchmarks/results
	$(BIN)/python -m benchmarks.docs
