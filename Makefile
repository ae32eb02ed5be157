# Two commands do everything on a fresh Debian machine with Go: make demo, make test.
# make alone builds ./berth. CONTRIBUTING.md says what each target does and needs.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory

# The version of a release, such as VERSION=1.2.3. Without it the program takes its
# version from the build information of Go.
VERSION    ?=
BIN        := $(CURDIR)/.bin
STATICCHECK_VERSION := v0.8.2
# Number of inputs that each fuzz target tries: 1 to 4 s, for keepalived.conf about
# 10 s. It is a count and not a time because go test 1.26 may report its own
# deadline as a failure (https://go.dev/issue/75804).
FUZZ      ?= 10000x
FUZZ_CONF ?= 10000x
# Packages whose tests start an etcd server.
ETCD_TESTS := ./election ./internal/etcdtest ./pool
PACKAGES   := keepalived etcd-server etcd-client curl iproute2 iputils-ping procps util-linux bsdutils systemd postgresql patroni python3-etcd python3 gcc libc6-dev groff-base bash-completion chromium ifupdown psmisc

# As root no test may be skipped.
ROOT := BERTH_TEST_REQUIRE_ROOT=$(if $(filter 0,$(shell id -u)),1)

export CGO_ENABLED ?= 1
export PATH := $(BIN):$(PATH)

.DEFAULT_GOAL := build
.PHONY: build etcdserver demo test check unit fuzz e2e faults lab lab-down bench soak versions packages tools clean

build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=auto -ldflags "-s -w$(if $(VERSION), -X main.Version=$(VERSION))" -o berth .

# The etcd server of the client library's own version, with which the tests of
# everything that speaks to etcd run once more. The first build takes a minute.
etcdserver:
	cd test/etcdserver && CGO_ENABLED=0 go build -p 2 -trimpath -ldflags "-s -w" -o $(BIN)/etcdserver .

# Debian packages that the tests and the demo run against. A user other than root
# cannot install them; a test or the demo then names the package that it lacks.
packages:
	@if [ "$$(id -u)" = 0 ] && ! dpkg-query -W $(PACKAGES) >/dev/null 2>&1; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq; \
		apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null; \
	fi

# Tools are installed from their source at exact versions, into .bin.
tools:
	@if ! staticcheck -version 2>/dev/null | grep -qF "($(STATICCHECK_VERSION:v%=%))"; then \
		GOBIN=$(BIN) go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION); \
	fi

demo: packages build
	@CGO_ENABLED=0 go run ./test/demo -berth $(CURDIR)/berth

test: packages tools check unit fuzz e2e

check:
	@echo "--- format, vet, static checks"
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "gofmt would change:" $$files; exit 1; fi
	go vet ./...
	staticcheck ./...
	go mod tidy -diff
	go mod verify >/dev/null
	cd test/etcdserver && go vet ./... && go mod tidy -diff

# Privileged tests fail instead of skipping when the variable is set. The parser
# of keepalived.conf starts no goroutine; the race detector would only make its
# comparison with the real keepalived take minutes. The schedules of the heartbeats are
# all played without it. At the end of a test no goroutine is
# left that a race could be found in, so the detector does not wait for one second there.
unit: etcdserver
	@echo "--- unit tests, race detector on"
	$(ROOT) GORACE=atexit_sleep_ms=50 go test -race -timeout 10m $$(go list ./... | grep -v -e /test/ -e /keepalivedconf)
	$(ROOT) BERTH_TEST_ETCD=$(BIN)/etcdserver go test -count=1 -timeout 10m $(ETCD_TESTS) ./keepalivedconf ./heartbeat

# The program of each package is built once, and two targets run at a time. What they
# find interesting is kept where go test -fuzz keeps it.
fuzz:
	@echo "--- fuzzing"
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	for package in $$(grep -rl '^func Fuzz' --include='*_test.go' . | xargs -n 1 dirname | sort -u); do \
		go test -c -vet=off -fuzz . -o "$$dir/$$package/fuzz" "$$package"; \
	done; \
	grep -rHo '^func Fuzz[A-Za-z0-9_]*' --include='*_test.go' . | sed 's/\/[^/]*:func / /' | sort -u | \
		FUZZ=$(FUZZ) FUZZ_CONF=$(FUZZ_CONF) CACHE=$$(go env GOCACHE)/fuzz/berth xargs -n 2 -P 2 $(CURDIR)/test/fuzz "$$dir"

e2e:
	@echo "--- end to end: real keepalived, namespaces, packets"
	$(ROOT) go test -p 1 -count=1 -timeout 15m $$(go list ./test/... | grep -v /test/faults)
	$(ROOT) go test -count=1 -timeout 10m ./test/faults/...

# Injects every fault of the lab and prints the table of what was measured; make
# faults FAULTS=kill9,host-death RUNS=1 injects some.
FAULTS ?= all
RUNS   ?= 5
faults: packages
	@go test -c -o $(BIN)/faults.test ./test/faults
	@cd test/faults && BERTH_TEST_REQUIRE_ROOT=1 $(BIN)/faults.test -test.run '^Test(Faults|Clock.*|APIUnderLoad)$$' -test.timeout 180m -faults '$(FAULTS)' -runs '$(RUNS)'

# Two hosts to experiment with, in the background: hosts that elect their owner by
# etcd, with make lab MODE=link hosts with berth in place of LinK, or with make lab
# MODE=keepalived hosts with keepalived. The API of the first two has a port of this machine.
MODE ?= elect
lab: packages
	@CGO_ENABLED=0 go build -o $(BIN)/lab ./test/faults/play
	@$(BIN)/lab up $(MODE)

lab-down:
	@$(BIN)/lab down

bench: packages
	go test -run '^$$' -bench . -benchmem $$(go list ./... | grep -v /test/)
	go test -run '^$$' -bench . ./test/...

# The long forms of what make test does in seconds; fuzzing keepalived.conf takes
# more than ten minutes. One package at a time: the fault lab measures.
soak: packages
	BERTH_SOAK=1 BERTH_TEST_REQUIRE_ROOT=1 go test -p 1 -count=1 -timeout 120m ./...
	$(MAKE) fuzz FUZZ=1000000x FUZZ_CONF=600000x

# Gives files to the keepalived of each Debian release, 2000 of them random, and records
# what each makes of those in keepalivedconf/testdata; then runs the tests of the election
# against the etcd of each. Nothing is installed: the packages are unpacked into .bin/versions.
# make versions RANDOM_FILES=0 ETCD_TESTS= records alone; CONFS=DIR compares the files of a
# directory too.
RANDOM_FILES ?= 2000
CONFS ?=
versions: packages etcdserver
	@test/distribution bullseye $(BIN)/versions/bullseye keepalived
	@for release in bookworm trixie sid; do test/distribution $$release $(BIN)/versions/$$release keepalived etcd-server; done
	@$(ROOT) BERTH_RANDOM=$(RANDOM_FILES) BERTH_CONFS=$(abspath $(CONFS)) ETCD_TESTS="$(ETCD_TESTS)" test/versions $(BIN)/versions $(BIN)/etcdserver

clean:
	rm -rf $(BIN) berth demo-report.html
