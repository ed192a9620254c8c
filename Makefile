# Everything a contributor or CI does goes through here. `make` alone prints this list.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# One set of flags for build, test, vet and lint: with mixed flags nothing is shared in the build cache.
export GOFLAGS := -trimpath
export GOTOOLCHAIN ?= local

TOOL    := go tool -modfile=tools/go.mod
BUILD   := CGO_ENABLED=0 go build -ldflags '-s -w'
PROGRAMS := manager sidecar issuer
comma    := ,

# What `make images` packs, for whom, and what it calls it.
REPOSITORY ?= ghcr.io/latchkey-dev
TAG        ?= dev
PLATFORMS  ?= linux/amd64,linux/arm64

## For users

help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^## / {printf "\n%s\n", substr($$0, 4)} /^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## Run the main job before your eyes, on a real API server (KEEP=1 leaves it up for you to play with)
	@assets=$$(test/controlplane/build $(if $(KEEP),kubectl)); \
	KUBEBUILDER_ASSETS=$$assets KEEP="$(KEEP)" exec bin/demo

test: ## Run every test, with the race detector
	@assets=$$(test/controlplane/build); echo "compiling and running the tests (cold: about ten minutes, warm: about two)"; \
	KUBEBUILDER_ASSETS=$$assets $(TOOL) gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg -- -race -timeout 20m ./...
	@cat test/output/web/*.txt # what the browser's half was asked

e2e: ## Run the tests that need a real cluster: KUBECONFIG's, kind where Docker runs, or a node of their own (Debian, root); RUN=pattern, KEEP=1
	@test/e2e/run

MINUTES ?= 10
load: ## Rotate keys every ten seconds under traffic for MINUTES (10), while manager, API server and etcd are killed, and report
	@assets=$$(test/controlplane/build); mkdir -p test/output/load; \
	KUBEBUILDER_ASSETS=$$assets MINUTES=$(MINUTES) exec go test -count=1 -v -timeout 0 -artifacts -outputdir $(CURDIR)/test/output/load ./test/rotationload

POLICIES ?= 1000
PODS     ?= 10000
load-manager: ## Measure the manager among POLICIES (1000) and PODS (10000), and count what it writes for each change
	@assets=$$(test/controlplane/build); mkdir -p test/output/load-manager; \
	KUBEBUILDER_ASSETS=$$assets POLICIES=$(POLICIES) PODS=$(PODS) SIGNING_KEYS=$${SIGNING_KEYS:-200} NAMESPACES=$${NAMESPACES:-20} REST_SECONDS=$${REST_SECONDS:-65} \
	  exec go test -count=1 -v -timeout 0 -artifacts -outputdir $(CURDIR)/test/output/load-manager ./test/managerload

## For contributors

build: ## Build the binaries into bin/
	@mkdir -p bin; echo "building binaries (cold: two to three minutes)"
	@for name in $(PROGRAMS); do $(BUILD) -o bin/latchkey-$$name ./cmd/$$name; done
	@$(BUILD) -o bin/latchkey ./cmd/latchkey
	@$(BUILD) -o bin/quickstart-app ./examples/quickstart/app
	@$(BUILD) -o bin/demo ./test/demo

images: ## Pack container images into bin/images, without Docker (REPOSITORY=, TAG=, PLATFORMS=)
	@echo "building programs for $(PLATFORMS) (cold: two to three minutes each)"
	@go run ./images -platforms $(PLATFORMS) \
	  $(foreach name,$(PROGRAMS),$(REPOSITORY)/latchkey-$(name):$(TAG)=./cmd/$(name)$(if $(filter sidecar,$(name)),$(comma)latchkey-redirect=./cmd/redirect)) \
	  $(REPOSITORY)/quickstart-app:$(TAG)=./examples/quickstart/app

generate: ## Write the generated files: deepcopy, CRDs, RBAC, and the chart's copies of them
	@$(TOOL) controller-gen object crd paths=./api/... output:crd:artifacts:config=config/crd output:object:dir=api/v1alpha1
	@$(TOOL) controller-gen rbac:roleName=latchkey-manager paths='{./controllers/...,./internal/inject/...,./cmd/manager/...}' output:rbac:artifacts:config=config/rbac
	@mkdir -p charts/latchkey/files/crds
	@cp config/crd/auth.latchkey.dev_*.yaml charts/latchkey/files/crds/ && cp config/rbac/role.yaml charts/latchkey/files/role.yaml

fmt: ## Format the code
	@gofmt -w api cmd controllers examples images internal sidecar test tools

lint: bin/golangci-lint ## Run the linters
	@bin/golangci-lint run ./...
	@bin/golangci-lint run --build-tags e2e ./test/e2e/

bench: ## Measure the sidecar side by side with HAProxy, nginx and net/http (about five minutes; SECONDS_EACH=, ROUNDS=)
	@SECONDS=$(SECONDS_EACH) ROUNDS=$(ROUNDS) RESULTS=$(CURDIR)/test/output/bench/results.json \
	  go test -count=1 -timeout 0 -run '^$$' -bench SideBySide -benchtime 1x ./test/sidebyside

bench-short: ## The same in under two minutes
	@$(MAKE) --no-print-directory bench ROUNDS=2

bench-issuer: ## Measure refreshes and sign-ins on each store, beside the store's own limit (about six minutes; SECONDS_EACH=, ROUNDS=, SESSIONS=)
	@SECONDS=$(SECONDS_EACH) ROUNDS=$(ROUNDS) RESULTS=$(CURDIR)/test/output/bench/issuer.json \
	  go test -count=1 -timeout 0 -run '^$$' -bench TokenService -benchtime 1x ./test/sidebyside

bench-code: ## Run the benchmarks beside the code
	@go test -run '^$$' -bench . -benchmem $$(go list ./... | grep -v /test/sidebyside)

FUZZTIME ?= 30s
# A fuzzer that is at work when its time is over may say "context deadline exceeded" and fail (a fault of go test): that is no finding.
fuzz: ## Fuzz everything that parses, FUZZTIME (30s) each
	@log=$$(mktemp); found=0; \
	while read -r file target; do \
	  echo "$$(dirname "$$file") $$target"; \
	  if ! go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$(dirname "$$file")" > "$$log" 2>&1 && \
	    ! { grep -q 'context deadline exceeded' "$$log" && ! grep -q 'Failing input' "$$log"; }; then cat "$$log"; found=1; fi; \
	  grep -o 'execs: [0-9]*' "$$log" | tail -1 || true; \
	done < <(grep -r --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' . | sed 's/:func / /' | sort); \
	rm -f "$$log"; exit $$found

presubmit: ## What CI runs: generated files in step, lint, every test, and e2e where it can run (cold: under an hour)
	@$(MAKE) --no-print-directory generate
	@for module in . tools test/e2e/workloads; do go -C $$module mod tidy -diff || exit 1; done
	@git diff --exit-code -- api config charts || { echo "generated files are out of step: run make generate and commit the result" >&2; exit 1; }
	@[ -z "$$(git status --porcelain -- api config charts)" ] || { git status --short -- api config charts; echo "generated files are not committed: run make generate and commit the result" >&2; exit 1; }
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test
	@OPTIONAL=1 test/e2e/run

clean: ## Remove what was built here (the control plane's cache stays)
	@rm -rf bin test/output

bin/golangci-lint: tools/go.mod tools/go.sum tools/golangci-lint/main.go
	@mkdir -p bin; echo "building golangci-lint (cold: about two minutes)"; go -C tools build -o ../bin/golangci-lint ./golangci-lint

.PHONY: help demo test e2e load load-manager build images generate fmt lint bench bench-short bench-issuer bench-code fuzz presubmit clean
