#!/usr/bin/env bash
# Remove everything that the make targets made; the demo is stopped first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ -d .demo ]]; then
    tests/dev/demo.sh clean
fi
rm -rf .dev .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache collections tests/output zerodown-pm2-*.tar.gz
find . -name __pycache__ -type d -prune -exec rm -rf {} +
