#!/usr/bin/env bash
# usage: bench.sh cutover [ARGUMENT...]    (tests/bench/cutover.py)
set -euo pipefail
# shellcheck source=tests/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$ROOT/tests/dev/setup.sh" check
only_one bench
cd "$ROOT/tests"
PYTHONPATH=$DEV/collections exec python -m "bench.$1" "${@:2}"
