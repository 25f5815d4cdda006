#: make book     the site, in _build/html
#: make serve    the site on http://localhost:8000; PORT=8000
#: make onepage  the book on one page, to print
#: make test     unit tests and all notebooks' outputs; SLOW=1: slow tests too
#: make lab      the notebooks in JupyterLab
#: make train    chapter 5 with a recipe, into runs/: RECIPE=laptop
#:               MODELS=vit,sl SEED=0 WEIGHTS=1 PUBLISH=1
#: make publish  put a finished run of runs/ into the book: RUN=laptop
#: make share    folders for the Hugging Face Hub: RUN=laptop HUB=your-name
#: make space    the attention explorer as a folder for a static Space: HUB=
#: make studies  lists the runs behind the result chapters; DRY=1 each of them;
#:               starts STUDIES="factorial sizes" SEEDS=0 RECIPES= WORKERS=2
#: make bench    images per second beside others: BENCH="--sections train"
#: make run      execute notebooks in place: NB="01_patches", or all
#: make clean    remove what was built; runs and checkpoints stay
#: For maintainers: make test-all, test-jax, test-torch, coverage, upgrade,
#: colab, losses, links, badges, hooks, lock, release; see README.md and CONTRIBUTING.
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
# What the stored outputs were made with; see conftest.py.
export TF_ENABLE_ONEDNN_OPTS ?= 0
export TF_CPP_MIN_LOG_LEVEL ?= 3

# Variables that a target takes. Another one is a slip, and refused.
TAKES.serve := PORT
TAKES.test := COVERAGE SLOW
TAKES.test-jax := COVERAGE
TAKES.test-torch := COVERAGE
TAKES.run := NB
TAKES.train := RECIPE MODELS SEED WEIGHTS PUBLISH VITSD_DATA_DIR
TAKES.publish := RUN
TAKES.share := RUN HUB LICENCE
TAKES.space := HUB
TAKES.studies := STUDIES DRY FORCE WORKERS RECIPES SEEDS RESULTS WORK \
    VITSD_DATA_DIR
TAKES.bench := BENCH
TAKES.upgrade := PRE WITH
TAKES.colab := NB RUNTIME
TAKES.release := VERSION
TAKES.lock := ONLY
EVERY := PYTHON KERAS_BACKEND TF_ENABLE_ONEDNN_OPTS TF_CPP_MIN_LOG_LEVEL
TAKEN := $(EVERY) $(foreach goal,$(MAKECMDGOALS),$(TAKES.$(goal)))
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v))
UNKNOWN := $(filter-out $(TAKEN),$(GIVEN))
ifneq ($(UNKNOWN),)
$(error no such variable here: $(UNKNOWN). Known: $(strip $(TAKEN)))
endif
# A value for the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'
# Asked for by name, another Python than that of .venv is refused.
version = $(shell $(1) -c 'import sys; print(sys.version)' 2>&1)
ifneq ($(filter command environment,$(origin PYTHON)),)
ifneq ($(wildcard .venv/ready),)
ifneq ($(call version,$(call quoted,$(PYTHON))),$(call version,$(BIN)/python))
$(error PYTHON=$(PYTHON) is not the Python of .venv, which is \
    $(firstword $(call version,$(BIN)/python)). To have it: rm -r .venv)
endif
endif
endif
# A list for the shell, and whether a switch is on.
comma := ,
each = $(foreach word,$(subst $(comma), ,$(1)),$(call quoted,$(word)))
on = $(filter-out 0 no false,$(1))

.DEFAULT_GOAL := help
.PHONY: help book onepage serve lab test test-all upgrade colab losses links \
    test-jax test-torch coverage run train publish share space studies \
    bench badges release lock hooks clean

help:
	@sed -n 's/^#: //p' Makefile

# With the backend of the stored outputs, also where the shell exports another.
book onepage: override export KERAS_BACKEND = tensorflow
book: .venv/ready
	$(BIN)/jupyter-book build . -W --keep-going -n
	@echo "The book lies in _build/html: open _build/html/index.html"

# The whole book on one page, to print or to keep.
onepage: .venv/ready
	$(BIN)/jupyter-book build . -W --keep-going -n --builder singlehtml
	@echo "One page: open _build/singlehtml/index.html"

serve: book
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 -d _build/html

# Installed when first asked for: no test and no page needs it.
lab: .venv/ready
	@$(BIN)/python -c 'import jupyterlab' 2>/dev/null \
	    || $(BIN)/pip install -q -c requirements.txt jupyterlab
	$(BIN)/jupyter lab notebooks/01_patches.ipynb

# Counted with COVERAGE=1 (and SLOW=1); `make coverage` then says how much.
COVERAGE ?=
PYTEST = $(BIN)/python $(if $(call on,$(COVERAGE)),-m coverage run) -m pytest

# What is marked slow waits for SLOW=1, as in CI: killed processes, Ctrl-C in
# a training, a benchmark, every page of the site in a browser. The types
# hold on the other systems too, each with a cache of its own: it is quick.
SLOW ?=
test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(PYTEST) -v -n 2 --dist loadfile \
	    $(if $(call on,$(SLOW)),,-m "not heavy and not slow")

# And what takes minutes or the network: a copy published under another name,
# the workflows' steps in a clean clone, the package in a bare environment.
# What models travel by is there only now.
test-all: SLOW := 1
test-all: test .venv/checks
	$(BIN)/pip install -q -c requirements.txt jax ray
	$(BIN)/python -m pytest -v tests/test_share.py
	$(BIN)/python -m pytest -v -m heavy tests

# What moves with the newest releases, as a page: _build/drift/index.html
# With pre-releases: make upgrade PRE=1
# The pinned ones but for some: make upgrade WITH="matplotlib==3.10.0"
PRE ?=
WITH ?=
upgrade: .venv/checks
	$(BIN)/python book/tools/drift.py upgrade $(if $(call on,$(PRE)),--pre) \
	    $(if $(WITH),--with $(foreach w,$(WITH),$(call quoted,$(w))))

# Every chapter as Colab would run it, with its versions. Some, or the oldest
# supported: make colab NB="01_patches 05_training" RUNTIME=2026.04
RUNTIME ?= 2026.08
colab: .venv/checks
	$(BIN)/python book/tools/colab.py $(NB) --runtime $(RUNTIME)

# What chapter 14 reads where JAX is not installed, from its own cells.
losses: .venv/ready
	$(BIN)/pip install -q -c requirements.txt jax
	$(BIN)/python book/tools/losses.py

# Do the links to other sites still lead somewhere?
links: .venv/ready
	$(BIN)/jupyter-book build . --keep-going --builder linkcheck

# The unit tests on JAX and on torch, which are not in requirements.txt: those
# that depend on the backend.
APART := address anchors bench book checkpoint checks colab compare data \
    experiments findings firefox house overview package places progress \
    records release safety site space tables tolerances try_recipes versions \
    workflows
ON_A_BACKEND = $(PYTEST) -n 2 --dist loadfile tests \
    $(APART:%=--ignore tests/test_%.py) --ignore-glob "tests/test_live_*"
test-jax: .venv/ready
	$(BIN)/pip install -q -c requirements.txt jax
	KERAS_BACKEND=jax $(ON_A_BACKEND)
# And vit-pytorch: the peer's loop has its test on torch alone.
PEER := vit-pytorch==1.26.11 einops==0.8.2
test-torch: export VITSD_REQUIRE_PEER = 1
test-torch: .venv/ready
	$(BIN)/pip install -q -c requirements.txt torch
	$(BIN)/pip install -q --no-deps $(PEER)
	KERAS_BACKEND=torch $(ON_A_BACKEND)

# How much of the package ran in all that was tested with COVERAGE=1, in
# notebooks and other processes too; fails below the floor in pyproject.toml.
coverage: .venv/ready
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

# Execute notebooks in place: all, or `make run NB="01_patches"`.
run: .venv/ready
	@$(BIN)/python book/tools/notebooks.py run $(NB)

# Chapter 5 with another recipe: make train RECIPE=laptop MODELS=vit,sl
RECIPE ?= laptop
MODELS ?= vit,sl
SEED ?= 0
train: .venv/ready
	@$(BIN)/python book/tools/chapter5.py train \
	    --recipe=$(call quoted,$(RECIPE)) --models=$(call quoted,$(MODELS)) \
	    --seed=$(call quoted,$(SEED)) $(if $(call on,$(WEIGHTS)),--weights) \
	    $(if $(call on,$(PUBLISH)),--publish)

# Put a finished run into book/results and book/runs.
publish: .venv/ready
	@$(BIN)/python book/tools/chapter5.py publish $(call quoted,$(RUN))

# Trained models as folders for the Hugging Face Hub, with ONNX and LiteRT;
# nothing is sent: make share RUN=laptop-sl-seed0 HUB=your-name LICENCE=mit
HUB ?= USER
LICENCE ?= mit
share: .venv/export
	@$(BIN)/python book/tools/share.py $(call quoted,$(RUN)) \
	    --hub=$(call quoted,$(HUB)) --licence=$(call quoted,$(LICENCE))

# The attention explorer with its models, as a static Space for the Hub.
space: .venv/ready
	@$(BIN)/python book/tools/space.py --hub=$(call quoted,$(HUB))

# The runs behind chapters 6 to 9 and 12 that have no record: hours to days. It
# starts what is chosen: make studies STUDIES="factorial sizes" SEEDS=0
studies: .venv/ready
	@$(BIN)/python book/tools/experiments.py run $(call each,$(STUDIES)) \
	    $(if $(call on,$(DRY)),--dry) $(if $(call on,$(FORCE)),--force) \
	    $(if $(RECIPES),--recipes $(call each,$(RECIPES))) \
	    $(if $(SEEDS),--seeds $(call each,$(SEEDS))) \
	    $(if $(WORKERS),--workers=$(call quoted,$(WORKERS))) \
	    $(if $(RESULTS),--results=$(call quoted,$(RESULTS))) \
	    $(if $(WORK),--work=$(call quoted,$(WORK)))

# Images a second of our models, the Keras example and vit-pytorch, for the
# page "The benchmark in tables". Beside TensorFlow it measures what is installed:
#   .venv/bin/pip install -c requirements.txt torch jax
#   .venv/bin/pip install --no-deps vit-pytorch einops
# Or elsewhere: make bench BENCH="--python torch=PATH --python jax=PATH"
# A part anew, the others kept: make bench BENCH="--sections train infer"
BENCH ?=
bench: export TF_ENABLE_ONEDNN_OPTS = 1
bench: .venv/ready
	$(BIN)/python book/tools/bench.py $(BENCH)

# Carry the repository's address, set in _config.yml, to every place.
badges: .venv/ready
	$(BIN)/python book/tools/address.py write

# Commit and tag a release; nothing is pushed: make release VERSION=0.2.0
release: .venv/ready
	$(BIN)/python book/tools/release.py prepare $(call quoted,$(VERSION))

# Pin requirements.txt afresh from the group `book` in pyproject.toml. Some
# alone, and what must follow: make lock ONLY="keras tensorflow tensorflow-cpu"
ONLY ?=
# uv passes over a name that is not there.
PINS := requirements.txt .ci/requirements.txt
pinned = $(shell grep -ioh -e $(call quoted,^$(1)==) $(PINS))
ifneq ($(filter lock,$(MAKECMDGOALS)),)
$(foreach p,$(ONLY),$(if $(call pinned,$p),,\
    $(error no $p is pinned in $(PINS))))
endif
NEWER = $(if $(ONLY),$(foreach p,$(ONLY),--upgrade-package \
    $(call quoted,$p)),--upgrade)
lock: .venv/checks
	$(BIN)/uv pip compile --universal --python-version 3.11 $(NEWER) \
	    --group book -o requirements.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 $(NEWER) \
	    --group checks -c requirements.txt -o .ci/requirements.txt

.venv/ready: requirements.txt pyproject.toml
	@$(call quoted,$(PYTHON)) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    || { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12"; exit 1; }
	@$(call quoted,$(PYTHON)) -m venv .venv \
	    || { echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q \
	    --no-deps --no-build-isolation -e .
	@touch $@

# What models travel by; see `export` in pyproject.toml.
.venv/export: .venv/ready .ci/requirements.txt
	@$(BIN)/python -m pip install --disable-pip-version-check -q \
	    -c requirements.txt -c .ci/requirements.txt \
	    ai-edge-litert huggingface_hub onnxruntime tf2onnx
	@touch $@

# The checks before each commit (.pre-commit-config.yaml).
hooks: .venv/checks
	$(BIN)/pre-commit install

# Linters and packagers: what the site and the notebooks do without.
.venv/checks: .venv/ready .ci/requirements.txt
	@$(BIN)/python -m pip install --disable-pip-version-check -q \
	    -c requirements.txt -r .ci/requirements.txt
	@touch $@

clean:
	rm -rf _build dist .pytest_cache .ruff_cache .mypy_cache .coverage*
