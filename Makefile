# Every command a user or developer needs. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.PHONY: setup
setup:
	@.ci/setup base

.PHONY: demo
demo: setup ## show lb at work on a real HAProxy: 20 seconds, nothing else needed
	@echo "demo: building (some minutes the first time)"
	@cargo run --quiet --release --package lb-examples --bin demo

.PHONY: test
test: ## run every test against the real servers, installing what is missing
	@.ci/test

.PHONY: lint
lint: ## formatting, clippy and rustdoc, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features

.PHONY: bench
bench: setup ## measure against the raw socket's floor in the same run; writes target/bench.json
	@cargo bench --package lb-examples --bench control_plane
	@cargo build --quiet --release --package lb-ffi && ffi/bench target/release

.PHONY: install
install: ## install lb.h, liblb and lb.pc: PREFIX=/usr/local DESTDIR=
	cargo build --release --package lb-ffi
	ffi/install target/release $(or $(PREFIX),/usr/local) $(DESTDIR)

.PHONY: image
image: ## build the agent as one static program, and as the image lb-agent
	@.ci/image

.PHONY: fuzz
fuzz: ## fuzz every target, SECONDS_EACH=10; needs a nightly toolchain
	@.ci/fuzz $(or $(SECONDS_EACH),10)

.PHONY: deny
deny: ## licences, duplicates and origins of what lb is linked with; `cargo deny check` asks for advisories too
	@command -v cargo-deny >/dev/null 2>&1 || cargo install --locked cargo-deny
	@cargo deny check licenses bans sources

.PHONY: simulate
simulate: ## play SEEDS=10000 worlds in virtual time; SEED=n repeats one and tells what happens in it
	@SEEDS=$(or $(SEEDS),10000) SEED=$(SEED) WITHOUT=$(WITHOUT) STEPS=$(STEPS) cargo test --quiet --profile simulate \
		--package lb-haproxy --features simulator --test world every_seed -- --nocapture

.PHONY: mutations
mutations: ## break every rule of the design on purpose, each must be noticed within SEEDS=10000 worlds
	@.ci/mutations $(or $(SEEDS),10000) $(ONLY)

.PHONY: differential
differential: ## COMMANDS=100000 random commands to the simulated and the real HAProxy of each version
	@LB_HAPROXY_MATRIX="$${LB_HAPROXY_MATRIX:-$$(.ci/haproxy-matrix list | awk '{print $$2}' | tr '\n' ' ')}" \
		LB_DIFFERENTIAL_COMMANDS=$(or $(COMMANDS),100000) LB_SEED=$(or $(SEED),1) cargo test --quiet \
		--profile simulate --package lb-haproxy --features simulator --test differential random -- --nocapture

.PHONY: chaos
chaos: ## MINUTES=5 of everything going wrong to real HAProxy, etcd and Docker under load, SEED=n repeats; FLOOD=1 minute of a flood
	@$(REAL) $(if $(SEED),LB_SEED=$(SEED)) LB_CHAOS_MINUTES=$(or $(MINUTES),5) \
		.ci/with-connections cargo test --quiet --package lb-examples --test chaos chaos_loses -- --nocapture
	@$(REAL) LB_FLOOD_MINUTES=$(or $(FLOOD),1) \
		.ci/with-connections cargo test --quiet --release --package lb-examples --test chaos a_flood -- --nocapture

# The versions of HAProxy and etcd that are there.
REAL = LB_HAPROXY_MATRIX="$${LB_HAPROXY_MATRIX:-$$(.ci/haproxy-matrix list | awk '{print $$2}' | tr '\n' ' ')}" \
	LB_ETCD_MATRIX="$${LB_ETCD_MATRIX:-$$(.ci/etcd-matrix list | awk '{print $$2}' | tr '\n' ' ')}"

.PHONY: matrix
matrix: ## prepare HAProxy 2.2, 2.6, 3.0, 3.2 and 3.4 for the tests
	@.ci/haproxy-matrix prepare
