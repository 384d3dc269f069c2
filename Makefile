# `make report` and `make bench` take DATA=folder with MNIST/raw; `make bench` also PEER=checkout of PyTorch-GAN.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ROOT_OF_MNIST = $(if $(DATA),--root "$(DATA)")

.PHONY: help setup demo test test-all lint docs report explore bench
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(INSTALLED) ## install everything into $(VENV)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Twofold needs Python 3.11 or newer; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup ## train both lessons in minutes; writes runs/demo/index.html
	$(BIN)/python -m scripts.demo

test: lint ## linters and the fast tests
	$(BIN)/python -m pytest -n auto --dist loadfile

test-all: lint ## linters and all tests, up to an hour
	$(BIN)/python -m pytest -n auto --dist loadfile -m ''

lint: setup ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: setup ## write the tables of the pages from benchmarks/results
	$(BIN)/python -m benchmarks.docs

report: setup ## train both lessons, up to 75 minutes; writes report/index.html; FULL=1 trains the textbook recipe to its end
	$(BIN)/python -m scripts.report $(if $(filter-out 0,$(FULL)),--full) $(ROOT_OF_MNIST)

explore: setup ## a local page to explore trained networks; RUNS=folder (default runs), PORT=number
	$(BIN)/python -m scripts.explore $(if $(RUNS),"$(RUNS)") $(if $(PORT),--port $(PORT))

bench: setup ## all benchmarks that benchmarks/results lacks; takes hours
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.lstm_kernels
	$(BIN)/python -m benchmarks.crash_resume
	$(BIN)/python -m benchmarks.speed $(if $(PEER),--peer "$(PEER)") $(ROOT_OF_MNIST)
	$(BIN)/python -m benchmarks.busy $(ROOT_OF_MNIST)
	$(BIN)/python -m benchmarks.gan $(ROOT_OF_MNIST)
	$(BIN)/python -m benchmarks.gan_baselines $(ROOT_OF_MNIST)
	$(BIN)/python -m benchmarks.gan_effects $(ROOT_OF_MNIST)
	$(BIN)/python -m benchmarks.gan_classes $(ROOT_OF_MNIST)
	$(BIN)/python -m benchmarks.docs
