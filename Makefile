# Thin: everything that checks, shows or measures the program is one of these targets.

CARGO ?= cargo

.PHONY: help build release static cross install uninstall deb image-context package newcomer check fmt clippy doc test generate shells demo demo-lan browser interop attack fault endurance soak fuzz lan bench deps service

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

deps: ## name what is missing to build (a C compiler for ring, cargo)
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install a Rust toolchain (1.85 or newer)"; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: apt-get install gcc libc6-dev"; exit 1; }

build: deps ## debug build
	$(CARGO) build --locked

release: deps ## small, stripped build: target/release/openclaw
	$(CARGO) build --locked --release

# A program of its own C library: it needs nothing of the machine it runs on.
STATIC_TARGET ?= $(shell rustc -vV | sed -n '/^host: /{s///;s/-gnu/-musl/;p}')

static: deps ## one file that runs on any Linux of this machine's kind: target/<triple>/release/openclaw
	contrib/build/target.sh $(STATIC_TARGET)
	@target/$(STATIC_TARGET)/release/openclaw --version

cross: deps ## aarch64 and armv7 with Debian's cross compilers, LIBC=gnu or musl; the demo runs there under emulation (installs these)
	contrib/build/cross.sh

check: fmt clippy doc ## formatting, lints, documentation

fmt:
	$(CARGO) fmt --check

clippy: deps
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test attack --test browser --test endurance --test fault --test fuzz --test generate --test interop --test lan -- -D warnings

doc: deps
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet

test: deps ## all fast tests
	$(CARGO) test --locked

PREFIX ?= /usr/local
DESTDIR ?=
# What is installed as the program; `make install PROGRAM=target/<triple>/release/openclaw` takes another build.
PROGRAM ?= target/release/openclaw

install: ## program, completions, manual pages, units, documentation: DESTDIR= PREFIX=/usr/local PROGRAM=
	@test -x $(PROGRAM) || { echo "$(PROGRAM) is missing: make release first"; exit 1; }
	PROGRAM=$(PROGRAM) DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) contrib/build/install.sh install

uninstall: ## remove what install put there, with the same DESTDIR= and PREFIX=
	DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) contrib/build/install.sh uninstall

deb: release ## a Debian package below target/debian, checked by lintian and unpacked (installs lintian)
	contrib/debian/build.sh $(PROGRAM)

image-context: static ## what the Dockerfile copies, below target/image
	contrib/docker/context.sh target/$(STATIC_TARGET)/release/openclaw target/image

package: deb image-context ## installs, removes and runs everything that is shipped, each in a root of its own (root)
	tests/package/run.sh target/$(STATIC_TARGET)/release/openclaw

newcomer: ## time the way of a newcomer: clone, demo, a service on a second host in namespaces (root)
	tests/newcomer/run.sh

demo: build ## the main job in a temporary directory: pair a node, run uname -a on it
	tests/demo.sh target/debug/openclaw

generate: deps ## write what is made from the command table anew: contrib/completions and contrib/man
	$(CARGO) test --locked --quiet --test generate

shells: ## completions in bash, zsh and fish; manual pages and shell scripts through their checkers (installs these)
	tests/shells/run.sh

browser: deps ## the browser proxy against a real headless Chromium and pages on loopback
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } \
	  || { echo "chromium is missing: apt-get install chromium"; exit 1; }
	$(CARGO) test --locked --test browser -- --test-threads=2

demo-lan: build ## two machines in network namespaces: find the gateway, pick it, trust it, be approved, run a command (root)
	tests/demo-lan.sh target/debug/openclaw

interop: deps ## against two unmodified OpenClaw releases from the npm registry, and behind nginx (needs npm and nginx; about 1.4 GB below target/)
	tests/interop/install.sh target/interop
	$(CARGO) test --locked --test interop -- --test-threads=1

service: build ## install, kill, freeze and remove both services under a real systemd in namespaces, and the package with its units; verify and score the units (root)
	tests/service/run.sh target/debug/openclaw
	tests/service/package.sh target/debug/openclaw
	$(CARGO) test --locked --test main -- --nocapture services:: packaged_units::

lan: build ## discovery in network namespaces, with real Avahi, python-zeroconf and BIND on the other side, for both advertisers (root)
	tests/lan/install.sh target/lan
	$(CARGO) test --locked --test lan -- --test-threads=2 --nocapture
	$(CARGO) test --locked --features libmdns --test lan one_interface -- --nocapture

attack: deps ## floods at full size: sockets, bytes, guesses, requests (about a minute)
	$(CARGO) test --locked --release --test attack -- --test-threads=1 --nocapture

endurance: deps ## a day of a node host in minutes (about 20): 10,000 runs, 1,000 reconnects, nothing may grow
	$(CARGO) test --locked --release --test endurance -- --nocapture

# What mostly waits runs at the same time, what is to be alone one after the other.
WAITING = cuts:: half_open:: idle::
FAULT = $(CARGO) test --locked --release --test fault --

fault: deps ## broken on purpose: kill -9, disks, syncs, cut networks, an idle minute; ends with a table of what was lost (as root; about 10 minutes)
	rm -f target/fault.txt
	code=0; $(FAULT) --test-threads=8 --nocapture $(WAITING) || code=$$?; \
	$(FAULT) --test-threads=1 --nocapture $(WAITING:%=--skip %) || code=$$?; cat target/fault.txt; exit $$code

MINUTES ?= 30

soak: deps ## random faults in random order for MINUTES (30), under leak checks; SOAK_SEED=n repeats a run (as root)
	SOAK_MINUTES=$(MINUTES) $(CARGO) test --locked --release --test fault -- --nocapture soak::

TIME ?= 60

fuzz: deps ## random frames, connect params, heads, scripts, DNS answers, configurations, state files for TIME seconds (60); FUZZ_SEED=n repeats a run
	FUZZ_SECONDS=$(TIME) $(CARGO) test --locked --test fuzz

bench: release ## the budget, measured (about 15 minutes); QUICK=1 for rough figures, FILTER=name for sections by name
	$(CARGO) bench --locked --bench budget -- $(if $(QUICK),--quick) $(FILTER)
