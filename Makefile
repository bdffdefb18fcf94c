# lvsfleet: `make` lists the targets.

GO          ?= go
FUZZTIME    ?= 10s
TESTFLAGS   ?=
GOLANGCI    = $(GO) tool -modfile=tools/go.mod golangci-lint
# The agents', and those that a controller is checked on: one with a history of
# drift and one without, since the database takes minutes to compile.
PLATFORMS   = linux/amd64 linux/arm64 linux/386 freebsd/amd64 freebsd/386 illumos/amd64 solaris/amd64
CONTROLLERS = linux/amd64 illumos/amd64
export CGO_ENABLED ?= 0

.PHONY: help install build demo test race crash soak mutants lint fuzz bench bench-fleet vmlab dist clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

build: bin/lvsfleet ## bin/lvsfleet, as it is (with the agents that `make dist` has made)

bin/lvsfleet: FORCE
	$(GO) build -trimpath -o bin/lvsfleet ./cmd/lvsfleet
FORCE:

PREFIX  ?= /usr/local
DESTDIR ?=
install: dist ## bin/lvsfleet with its agents, and completions, below DESTDIR/PREFIX (default /usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d \
		$(DESTDIR)$(PREFIX)/share/doc/lvsfleet
	install -m 755 bin/lvsfleet $(DESTDIR)$(PREFIX)/bin/lvsfleet
	bin/lvsfleet completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/lvsfleet
	bin/lvsfleet completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lvsfleet
	bin/lvsfleet completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/lvsfleet.fish
	install -m 644 README.md LICENSE CHANGELOG.md docs/*.md $(DESTDIR)$(PREFIX)/share/doc/lvsfleet

demo: bin/lvsfleet ## set-up and main job: converge the three example clusters, simulated
	$(GO) run ./cmd/lvsfleet/internal/demo -lvsfleet bin/lvsfleet examples/nat examples/dr examples/tun

test: ## every test that needs no root and no other machine
	$(GO) test $(TESTFLAGS) ./...

race: ## the same under the race detector (needs a C compiler)
	CGO_ENABLED=1 GORACE="atexit_sleep_ms=10 $$GORACE" $(GO) test -race $(TESTFLAGS) ./...

STRIDE ?= 1
crash: ## the crash matrix: let transactions die in every way, at every access
	$(GO) run ./agent/crash -stride $(STRIDE)

soak: ## watch 200 simulated hosts for 1,000 rounds in which much goes wrong: nothing is missed, nothing grows
	$(GO) test ./cmd/lvsfleet/internal/drift -run '^TestSoak$$' -v -timeout 3h -soak.hosts 200 -soak.rounds 1000

MUTANTS ?= .
mutants: ## break each rule of safety on purpose: the tests must notice every one
	$(GO) run ./cmd/lvsfleet/internal/mutants -only '$(MUTANTS)'

lint: ## go vet for every platform, the linter, and the layers
	@set -e; for p in $(PLATFORMS); do \
		echo "go vet $$p"; \
		export GOOS=$${p%/*} GOARCH=$${p#*/}; \
		case " $(CONTROLLERS) " in *" $$p "*) set -- ./... ;; \
		*) set -- $$($(GO) list ./... | grep -v '/cmd/lvsfleet\(/\|$$\)') ;; esac; \
		$(GO) vet "$$@"; \
	done
	$(GOLANGCI) run ./...

fuzz: ## every fuzz target for FUZZTIME each (default 10s)
	@set -e; for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

bench: ## the benchmarks behind docs/benchmarks.md
	$(GO) test -run '^$$' -bench . -benchmem ./...

VMLAB ?= all
vmlab: ## prove it on a real kernel, in a virtual machine (Debian, root: installs QEMU)
	$(GO) run ./agent/lab/vm/vmlab -run $(VMLAB)

bench-fleet: ## 50 and 200 hosts beside OpenSSH and Ansible (Debian, root: installs Ansible)
	$(GO) run ./agent/lab/vm/fleet

dist: ## the agents for all platforms, and bin/lvsfleet that carries them
	$(GO) run ./agent/remote/internal/dist
	$(GO) build -trimpath -ldflags '-s -w' -o bin/lvsfleet ./cmd/lvsfleet

clean: ## remove what was built
	rm -rf bin agent/remote/payload/*.gz agent/remote/payload/manifest.json
