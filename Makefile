# What a person types. The work is in tests/dev/; docs/development.md explains it.

.DEFAULT_GOAL := help
.PHONY: help deps demo demo-clean check test test-faults bench-cutover clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22

deps: ## only install the tools, Node and PM2 into .dev
	@tests/dev/setup.sh test

demo: ## deploy a sample app to this machine, then version 2, then roll back
	@tests/dev/demo.sh run

demo-clean: ## stop the demo and remove everything of it
	@tests/dev/demo.sh clean

check: ## lint, types and unit tests: the quick part
	@tests/dev/test.sh check

test: ## everything, on this machine
	@tests/dev/test.sh test

bench-cutover: ## what a cutover costs, next to PM2's own ways: docs/cutover-bench.md (BENCH=--long for all rows)
	@tests/dev/bench.sh cutover $(BENCH)

test-faults: ## kill -9 at every step of a cutover, and power cuts of hosts
	@tests/dev/test.sh faults

clean: ## remove everything that the other targets made
	@tests/dev/clean.sh
