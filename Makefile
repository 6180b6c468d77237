# The targets that people and the build machine type. `make` alone lists them.
# Every recipe stops at the first failure; the output ends with the tool's own last lines.

CARGO ?= cargo
TOOLS := $(CURDIR)/target/tools
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(TOOLS)/bin/cargo-deny

.PHONY: help run demo docs check test attack soak load advisories prerequisites cargo-deny

help:
	@echo "make run            build, run a session end to end, stay up until Ctrl-C"
	@echo "make demo           the same, checked step by step, then stop"
	@echo "make docs           write what is generated of the documents"
	@echo "make check          format, lints, licences, documentation, links, layout"
	@echo "make test           every test, against the real programs"
	@echo "make attack         the suite with the long round counts, scanners, vendors' programs"
	@echo "make soak           ten minutes of everything at once: memory and descriptors stay flat"
	@echo "make load           measure the authentication path against other proxies and the budgets"
	@echo "make advisories     known vulnerabilities (needs the advisory database)"
	@echo "make prerequisites  install what is missing on Debian or Ubuntu"

run: prerequisites
	./deploy/demo.sh run

demo: prerequisites
	./deploy/demo.sh check

docs: prerequisites
	$(CARGO) run --quiet --package config --example api_document
	$(CARGO) build --quiet --workspace --bins
	target/debug/loki manual --markdown >docs/commands.md

check: prerequisites cargo-deny
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --workspace --test attack --locked -- -D warnings
	$(CARGO_DENY) --locked check bans licenses sources
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	for script in deploy/*.sh deploy/demo/*.sh deploy/demo/project/*.sh load/*.sh tests/counterparts/*.sh; do sh -n "$$script" || exit 1; done
	$(CARGO) test --workspace --test suite --locked -- layout:: links:: promises::

test: prerequisites
	./tests/counterparts/install.sh test
	$(CARGO) test --workspace --locked

# The round counts that `make test` keeps short, at full length; then scanners and vendors' programs.
attack: prerequisites
	./tests/counterparts/install.sh test attack
	SUITE_LONG=1 $(CARGO) test --workspace --test suite --locked
	$(CARGO) test --workspace --test attack --locked

# For ten minutes, or for SOAK_SECONDS, against optimised programs.
soak: prerequisites
	SOAK_SECONDS=$${SOAK_SECONDS:-600} $(CARGO) test --release --workspace --test attack --locked -- soak:: --nocapture

# Minutes on a quiet machine of two processors; fails when a budget does not hold.
load: prerequisites
	./tests/counterparts/install.sh load
	./load/measure.sh

advisories: cargo-deny
	$(CARGO_DENY) --locked check advisories

prerequisites:
	./deploy/prerequisites.sh

# Built once into the project's own folder; the machine's cargo is left as it is.
cargo-deny:
	@"$(CARGO_DENY)" --version 2>/dev/null | grep -qx 'cargo-deny $(CARGO_DENY_VERSION)' \
	  || $(CARGO) install --locked cargo-deny --version $(CARGO_DENY_VERSION) --root "$(TOOLS)" --force
