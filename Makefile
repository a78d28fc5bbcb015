# make demo: compare six ways of judging on real reviews.   make test: pass the tests.
# make check: lint, format, types.   Each creates .venv when it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check clean

demo: $(READY)
	$(BIN)/pollice compare

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("pollice needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev -e '.[models,lora,lexicon,onnx,openvino,ray,serve]'
	touch $(READY)

clean:
	rm -rf $(VENV) runs
