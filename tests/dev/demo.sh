#!/usr/bin/env bash
# usage: demo.sh run|clean    (tests/dev/demo.py)
set -euo pipefail
# shellcheck source=tests/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [[ $1 == clean && ! -d $ROOT/.demo ]]; then
    echo 'There is no demo here.'
    exit
fi
"$ROOT/tests/dev/setup.sh" demo
only_one demo
cd "$ROOT"
exec python tests/dev/demo.py "$1"
