#!/usr/bin/env bash
# usage: test.sh check|test    the quick suites, or all of them (tests/dev/suites.py)
set -euo pipefail
# shellcheck source=tests/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$ROOT/tests/dev/setup.sh" "$1"
only_one "$1"
cd "$ROOT/tests"
exec python -m dev.suites "$1"
