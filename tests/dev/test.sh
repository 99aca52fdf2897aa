#!/usr/bin/env bash
# usage: test.sh check|test|faults    the quick suites, all of them, or the faults (tests/dev/suites.py)
set -euo pipefail
# shellcheck source=tests/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# what the faults need is what all tests need
"$ROOT/tests/dev/setup.sh" "${1/faults/test}"
only_one "$1"
cd "$ROOT/tests"
exec python -m dev.suites "$1"
