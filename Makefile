# make demo | make test | make check; everything lives in $(VENV).
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PY = $(VENV)/bin/python
INPUTS = pyproject.toml constraints.txt

.PHONY: help demo test check apk clean

help:
	@echo "make demo    restore the bundled photos; pictures and a table in build/demo"
	@echo "make test    run all tests"
	@echo "make check   lint, format, types"
	@echo "make apk     build the Android app offline (JDK 17, Maven and Debian's aapt; see android_demo/)"
	@echo "make clean   remove what these made"

demo: $(VENV)/.installed-demo
	$(PY) -m cpl_edge.demo

test: $(VENV)/.installed-all
	PYTHON=$(PY) scripts/test

check: $(VENV)/.installed-all
	PYTHON=$(PY) scripts/check

apk:
	android_demo/build_offline.sh

clean:
	rm -rf $(VENV) build dist

$(PY):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "on Debian: apt install python3-venv"; exit 1; }

# The stamps keep a second run from installing again; uv takes seconds where pip takes minutes.
$(VENV)/.installed-demo: $(PY) $(INPUTS)
	scripts/install $(PY) eval,train
	touch $@

$(VENV)/.installed-all: $(PY) $(INPUTS)
	scripts/install $(PY) all,dev
	touch $@
