# Everything that is done with this project. `make` alone lists it.

# The first of these that is Python 3.11 or later makes .venv; `make PYTHON=/path/to/python …` overrules.
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11 python
PYTHON ?=
# What pytest is given beyond pyproject.toml, e.g. `make test ARGS="-k codec -x"`.
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.installed-base
DEV := $(VENV)/.installed-dev
PEERS := .bench-peers
AUDIT := .audit
PINS := setup.cfg pyproject.toml constraints.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-cluster check check-lint check-types check-public-types check-layers bench bench-peers simulate planted model mutate conformance chaos prove docs audit clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1 | \2/p' Makefile | awk -F ' [|] ' '{ printf "%-17s %s\n", $$1, $$2 }'

demo: $(BASE) ## run a data pipeline on SQLite, kill its worker, watch it finish
	$(BIN)/zart demo -o table

test: $(DEV) ## run all tests
	$(BIN)/pytest --numprocesses auto $(ARGS)

test-cluster: $(DEV) ## kill nodes of clusters under load, and count what was lost or doubled; CLUSTERS="galera failover …" for some
	$(BIN)/python -m tests.clusters $(CLUSTERS)

check: check-lint check-types check-public-types check-layers ## lint, format, types and layers; all of them with `make -k check`

check-lint: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

check-types: $(DEV)
	$(BIN)/mypy $(wildcard zart tests/typing benchmarks) $(wildcard examples/*.py)

# --verifytypes looks for the package with the python that comes first on the path, whatever its options say.
check-public-types: $(DEV)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pyright --verifytypes zart --ignoreexternal
	$(if $(wildcard tests/typing/*.py),$(BIN)/pyright)

check-layers: $(DEV)
	$(BIN)/lint-imports --no-logo

bench: $(DEV) ## measure beside the limits of this machine and the peers of bench-peers
	$(BIN)/python -m benchmarks --page docs/explain/measured.md $(ARGS)

bench-peers: $(PEERS)/.installed ## install what `make bench` measures beside Zart, in .bench-peers

simulate: $(DEV) ## run SEEDS simulations of the engine (2000) in JOBS processes (2), from seed FIRST (0)
	$(BIN)/python -m zart.testing.simulation --seeds $(or $(SEEDS),2000) --first $(or $(FIRST),0) --jobs $(or $(JOBS),2)

planted: $(DEV) ## plant known bugs in the engine, and see the simulation catch each of them
	$(BIN)/python -m zart.testing.simulation --planted --seeds $(or $(SEEDS),400)

conformance: $(DEV) ## play the conformance suite on every backend, and write its pages in docs
	$(BIN)/python -m tests.conformance --page docs/explain/conformance.md

model: $(BASE) ## search all states of the protocol's model, and refute its mutants; needs spin and a C compiler
	$(BIN)/python -m models

mutate: $(DEV) ## plant mistakes in LIMIT places of each module that promises rest on (300), and count what the tests find
	$(BIN)/python -m tests.mutation --limit $(or $(LIMIT),300) --seed $(or $(SEED),1) --page docs/explain/mutation.md $(ARGS)

chaos: $(DEV) ## let everything go wrong among real processes for MINUTES (15), from seed SEED (1), and count what was broken
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),15) --seed $(or $(SEED),1) $(ARGS)

prove: $(DEV) ## run all of it with SEEDS (2000) and MINUTES (15), and print one verdict for each; takes two hours
	$(BIN)/python -m tests.proof --seeds $(or $(SEEDS),2000) --minutes $(or $(MINUTES),15) $(ARGS)

docs: $(DEV) ## build docs/_build; every warning is an error
	$(BIN)/sphinx-build --quiet -W -n --keep-going docs docs/_build
	@echo docs/_build/index.html

# --strict: a package that nobody knows anything about is no good news. The wheel is built twice: both must be the same.
audit: $(AUDIT)/.installed ## look for known weaknesses and write build/sbom.json; needs the network
	$(AUDIT)/tools/bin/bandit --quiet --recursive zart --severity-level medium --configfile pyproject.toml
	@mkdir -p build
	$(AUDIT)/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
	    --output-file build/sbom.json $(AUDIT)/runtime
	@rm -rf build/lib build/bdist.* build/wheels
	@for number in 1 2; do \
	    SOURCE_DATE_EPOCH=1767225600 $(BIN)/pip wheel --quiet --no-deps --no-cache-dir --wheel-dir build/wheels/$$number . || exit; \
	    rm -rf build/lib build/bdist.*; \
	done
	cmp build/wheels/1/*.whl build/wheels/2/*.whl
	$(AUDIT)/tools/bin/pip-audit --strict --path "$$(echo $(AUDIT)/runtime/lib/python*/site-packages)"

clean: ## remove what was built and cached, except .venv
	rm -rf build dist docs/_build .audit .bench .bench-peers .demo .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# A stamp is touched last: an interrupted installation is repeated. The one for developers holds all of the other.
$(BASE): $(PINS) | $(BIN)/pip
	$(BIN)/pip install --quiet --editable . --constraint constraints.txt
	@touch $@

$(DEV): $(PINS) | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $(BASE) $@

# What a user installs, and nothing else: no tools, no tests, not Zart itself, of which nobody else knows anything yet.
$(AUDIT)/.installed: $(PINS) .ci/audit.txt | $(BIN)/pip
	rm -rf $(AUDIT)
	$(BIN)/python -m venv --without-pip $(AUDIT)/tools
	$(BIN)/pip --python $(AUDIT)/tools install --quiet --requirement .ci/audit.txt
	$(BIN)/python -m venv --without-pip $(AUDIT)/runtime
	$(BIN)/pip --python $(AUDIT)/runtime install --quiet '.[fast,server,client,crypto,mcp,metrics,mysql,otel]' --constraint constraints.txt
	$(BIN)/pip --python $(AUDIT)/runtime uninstall --quiet --yes zart-durable
	@touch $@

# The newest Python that all peers have wheels for: one of them needs 3.12. Restate's server is an npm package.
$(PEERS)/.installed: benchmarks/peers.txt
	rm -rf $(PEERS)
	@for python in $(or $(PYTHON),python3.13 python3.12 $(PYTHONS)); do \
	    "$$python" -c 'import ensurepip, venv' 2>/dev/null && break; \
	done; \
	echo "$$python -m venv $(PEERS)"; \
	"$$python" -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --requirement benchmarks/peers.txt
	if command -v npm >/dev/null; then \
	    npm install --prefix $(PEERS) --silent --no-fund --no-audit --no-save @restatedev/restate-server@1.7.12; \
	else \
	    echo "Restate is left out: there is no npm" >&2; \
	fi
	@touch $@

$(BIN)/pip:
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Zart needs Python 3.11 or later, and none of these is: $(or $(PYTHON),$(PYTHONS))." >&2; \
	    echo "Install one, or name it: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "$$python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python$$version-venv" >&2; \
	    exit 1; \
	fi; \
	echo "$$python -m venv $(VENV)"; \
	"$$python" -m venv $(VENV)
