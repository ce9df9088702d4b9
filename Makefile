# Needs Go, make and git; `make generate`, `make lint` and `make test` build their
# own tools in .bin, `make test-real` needs npm.

SHELL    := /bin/sh
EXE      := $(shell go env GOEXE)
PROGRAMS := ./services/gateway/cmd/gateway ./services/orchestrator/cmd/orchestrator ./services/orchestrator/cmd/telecodex-contain \
	./services/telecodex/cmd/telecodex ./services/internal/codexsim/cmd/fakecodex ./services/internal/telegramsim/cmd/faketelegram
PACKAGES := ./gen/... ./services/...
REPORT   := go run ./services/internal/testreport/cmd/testreport
TOOLS    := .bin/.installed
GRPCURL  := .bin/grpcurl$(EXE)
GOJQ     := .bin/gojq$(EXE)
STAMP     = -X telecodex.dev/services/internal/command.stamp=$(VERSION)

# What may be set on the command line.
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
PREFIX   ?= /usr/local
DESTDIR  ?=
ADDR     ?=
SHARED_DIR ?=
CA_FILE  ?=
CERT_FILE ?=
KEY_FILE ?=
SERVER_NAME ?=
TOKEN_FILE ?=
ARGS     ?=
BENCH    ?= .
FUZZTIME ?= 10s
CHAOS_SECONDS ?= 600
CHAOS_SEED ?= 1
SOAK_SECONDS ?= 1800
SCHEDULES ?= 1000000
REPLAY   ?=
RUN      ?= .

.PHONY: help build run up down logs stage images release install test-compose test test-real corpus conformance chaos simulate soak bench fuzz generate lint clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

build: ## Build every program into bin/.
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags='$(STAMP)' -o bin/ $(PROGRAMS)

run: build ## Run the bot (with CHANNEL_TOKEN), or a demonstration without one. ARGS=… are its flags.
	@if [ -n "$$CHANNEL_TOKEN$$CHANNEL_TOKEN_FILE" ]; then exec bin/telecodex$(EXE) run $(ARGS); \
	else exec bin/telecodex$(EXE) demo $(ARGS); fi

up: stage ## Run the stack in containers: the bot (with CHANNEL_TOKEN), or a demonstration. SCALE=n workers.
	@deploy/stack up

down: ## Stop the stack in containers. Of the demonstration nothing stays, of the bot its volumes.
	@deploy/stack down

logs: ## Follow the logs of the stack in containers.
	@deploy/stack logs

stage: ## Build the programs of the images into bin/image/.
	@mkdir -p bin/image
	CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags='$(STAMP) -s -w' -o bin/image/ $(PROGRAMS)

images: stage ## Build the images telecodex/gateway and telecodex/orchestrator, with the tag VERSION.
	@deploy/stage-codex
	docker build -f deploy/gateway.Dockerfile $(if $(TELECODEX_BASE),--build-arg BASE=$(TELECODEX_BASE)) -t telecodex/gateway:$(VERSION) .
	docker build -f deploy/orchestrator.Dockerfile $(if $(TELECODEX_BASE),--build-arg BASE=$(TELECODEX_BASE)) -t telecodex/orchestrator:$(VERSION) .

release: $(TOOLS) ## Make dist/: archives for every system, checksums, bills of materials. TARGETS=… selects.
	@VERSION='$(VERSION)' deploy/release dist

install: build ## Install programs, units and examples beneath DESTDIR and PREFIX (/usr/local).
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/lib/systemd/system' '$(DESTDIR)$(PREFIX)/share/doc/telecodex'
	install -m 755 bin/gateway$(EXE) bin/orchestrator$(EXE) bin/telecodex$(EXE) bin/telecodex-contain$(EXE) '$(DESTDIR)$(PREFIX)/bin'
	for unit in deploy/systemd/*.service; do \
		sed 's|@PREFIX@|$(PREFIX)|' "$$unit" >'$(DESTDIR)$(PREFIX)/lib/systemd/system/'"$${unit##*/}" || exit 1; \
	done
	install -m 644 README.md LICENSE deploy/*.env.example '$(DESTDIR)$(PREFIX)/share/doc/telecodex'

# What vet has to say, make lint says. Most of what the tests do is to wait for
# programs, disks and clocks: more of them at once than there are processors, and
# those that take longest first, so that none is left to run alone at the end. Of
# the tools it builds those with which the documents' lines are run, no others.
test: $(GRPCURL) $(GOJQ) ## Run every test that needs no account and no network. RUN=… selects by name.
	@$(REPORT) -count=1 -timeout=10m -parallel=4 -vet=off -run='$(RUN)' ./services/e2e/... ./services/telecodex/... $(PACKAGES)

test-real: ## Run the suite on the real Codex CLI (installed beneath .tools with npm).
	@$(REPORT) -count=1 -timeout=15m -tags=real -run='$(RUN)' ./services/e2e/real/...

test-compose: stage ## Run the suite of the stack in containers; .ci/engine make test-compose brings an engine.
	@$(REPORT) -count=1 -timeout=15m -tags=compose -run='$(RUN)' ./services/e2e/compose

corpus: ## Record anew what the real Codex prints, for the decoder's tests.
	go test -count=1 -tags=real -run=TestCorpus ./services/e2e/real -record
	go test -count=1 -run=TestGolden ./services/orchestrator/internal/codex -update

conformance: ## Hold the orchestrator at ADDR=host:port to the contract; without ADDR, this one.
	@ADDR='$(ADDR)' SHARED_DIR='$(SHARED_DIR)' CA_FILE='$(CA_FILE)' CERT_FILE='$(CERT_FILE)' KEY_FILE='$(KEY_FILE)' \
	SERVER_NAME='$(SERVER_NAME)' TOKEN_FILE='$(TOKEN_FILE)' $(REPORT) -count=1 -timeout=10m -run='$(RUN)' ./services/e2e/conformance

chaos: ## Kill and disturb the programs for CHAOS_SECONDS (600) by the schedule of CHAOS_SEED (1), and judge.
	@CHAOS_SECONDS='$(CHAOS_SECONDS)' CHAOS_SEED='$(CHAOS_SEED)' go test -count=1 -timeout=0 -v -run='^TestChaos' ./services/e2e/chaos

soak: ## Let 50 people write for SOAK_SECONDS (1800), and judge whether anything grows.
	@SOAK_SECONDS='$(SOAK_SECONDS)' go test -count=1 -timeout=0 -run='^$$' -bench='^BenchmarkSoak$$' -benchtime=1x ./services/e2e/bench

simulate: ## Play SCHEDULES (1000000) of a lane in which everything fails at every step; REPLAY=… one that went wrong.
	@go test -count=1 -timeout=0 -v -run='^(TestSimulation|TestEveryFaultAtEveryStep)$$' ./services/gateway/internal/lane \
		-lane.schedules='$(SCHEDULES)' -lane.replay='$(REPLAY)'

bench: ## Print the figures of speed and memory. BENCH=… selects by name.
	@go test -p=1 -run='^$$' -bench='$(BENCH)' -skip='^BenchmarkSoak$$' -benchmem -timeout=30m ./services/...

fuzz: ## Fuzz every target for FUZZTIME (10s) each.
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' services | sed 's/func //' | sort | \
	while IFS=: read -r file target; do \
		echo "fuzz $$target"; \
		go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) "./$$(dirname "$$file")" || exit 1; \
	done

generate: $(TOOLS) ## Generate gen/ from proto/.
	.bin/buf lint
	.bin/buf format --diff --exit-code
	.bin/buf generate

lint: $(TOOLS) ## Check format, vet (three systems), staticcheck, protos, generated code, scripts, workflow.
	@.ci/lint

clean: ## Remove what was built; state and installed tools stay.
	rm -rf bin artifacts

# Outside the workspace, so that the tools' dependencies never reach the services.
$(TOOLS): gen/tools/go.mod gen/tools/go.sum
	GOWORK=off GOBIN='$(CURDIR)/.bin' go -C gen/tools install tool
	@touch $@

# One of them alone, in a fraction of the time. Where it cannot be had, as without a
# network, the tests that need it say so.
$(GRPCURL): package = github.com/fullstorydev/grpcurl/cmd/grpcurl
$(GOJQ): package = github.com/itchyny/gojq/cmd/gojq
$(GRPCURL) $(GOJQ): gen/tools/go.mod gen/tools/go.sum
	-GOWORK=off GOBIN='$(CURDIR)/.bin' go -C gen/tools install $(package) && touch $@
