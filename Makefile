# `make` alone prints what there is: each target's text stands behind its `##`.
# Everything that is installed or built lands below $(CACHE), so that a fresh clone finds it again.
SHELL := /bin/bash
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/lakeward
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(PATH):$(HOME)/.cargo/bin
SERVERS := pg azurite azurite_oauth s3 moto s3proxy spark python
WITH := tests/setup/with-servers.sh
PG_TESTS := $(patsubst tests/tests/%.rs,--test %,$(wildcard tests/tests/postgres_*.rs)) --test concurrent_writers

.PHONY: help setup demo demo-databricks databricks-day-one check test bench lint deny test-matrix soak clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 28

setup: ## install what the tests need (pinned, into ~/.cache/lakeward), skip what is there
	@tests/setup/install.sh rust postgres azurite s3 s3proxy spark python-readers

demo: ## a shop database copied into a Delta Lake on this machine, killed half-way, changed, counted
	@tests/setup/install.sh rust && tests/demo/demo.sh

demo-databricks: ## the same for Databricks, against a double with Spark behind it: no workspace, no account
	@tests/setup/install.sh rust && tests/demo/demo-databricks.sh

databricks-day-one: ## asks a real workspace what only one can tell, and says which switches follow (DAY_ONE_ARGS=--help)
	@python3 -B tests/day_one/day_one.py $(DAY_ONE_ARGS)

check: ## compile everything, run nothing
	@tests/setup/install.sh rust && cargo check --workspace --all-targets

# Tests wait for servers and for processes half of the time: twice as many at once as there are cores.
test: export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
# With the tests in one build: by themselves the programs would be built with other features of some crates, all of it twice.
# Who names a test by TEST_ARGS waits for that one only.
test: setup ## every test that needs no cloud account, against real servers
	cargo build --workspace --bins $(if $(TEST_ARGS),,--tests)
	$(WITH) $(SERVERS) -- cargo test --workspace $(TEST_ARGS) -- --include-ignored --skip figures
	$(WITH) python -- bash -c '"$$LAKEWARD_TEST_PYTHON" -m unittest discover -s tests/readers'

# Each feature is absent from at least one of them.
REDUCED := postgres,delta databricks,aws
lint: ## formatting, clippy (also without some features), shell syntax
	@tests/setup/install.sh rust
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	for features in $(REDUCED); do cargo clippy -p lakeward -p lakeward-local --no-default-features --features $$features -- -D warnings || exit 1; done
	@tests/setup/install.sh shellcheck
	. tests/setup/versions.sh && "$$TOOLS/shellcheck-$$SHELLCHECK_VERSION/bin/shellcheck" -x -P SCRIPTDIR $$(git ls-files '*.sh' ':!docs/spec') .ci/run

deny: ## licences, duplicate crates, sources (builds cargo-deny once: minutes)
	@tests/setup/install.sh rust cargo-deny
	. tests/setup/versions.sh && "$$TOOLS/cargo-deny-$$CARGO_DENY_VERSION/bin/cargo-deny" check licenses bans sources

test-matrix: ## the PostgreSQL tests against 13, 14, 16, 17 and 18
	@tests/setup/install.sh rust pg-matrix
	for major in 13 14 16 17 18; do echo "== PostgreSQL $$major"; \
	  $(WITH) --pg $$major pg azurite python -- cargo test --workspace $(PG_TESTS) -- --include-ignored || exit 1; done

bench: ## PostgreSQL to Parquet, side by side with DuckDB and the server's own COPY
	@tests/setup/install.sh rust postgres python-readers
	cargo build --release -p lakeward-local
	LAKEWARD_PG_OPTIONS="-c shared_buffers=2GB -c jit=off -c autovacuum=off" $(WITH) pg python -- \
	  bash -c '"$$LAKEWARD_TEST_PYTHON" tests/bench/bench.py "$$CARGO_TARGET_DIR/release/lakeward" $(BENCH_ARGS)'

# No end but the clock: seeds without number, and a failure is told by what was printed.
soak: ## the simulation for an hour (SOAK_SECONDS=3600)
	@tests/setup/install.sh rust
	cargo test --release -p lakeward-tests --test simulation --no-run
	@log=$$(mktemp); LAKEWARD_SIM_SEEDS=1000000000 timeout $(or $(SOAK_SECONDS),3600) \
	  cargo test --release -p lakeward-tests --test simulation -- --nocapture 2>&1 | tee $$log; ! grep -E 'replay:|FAILED' $$log

clean: ## forget what was built (not what was installed)
	rm -rf "$(CARGO_TARGET_DIR)"
