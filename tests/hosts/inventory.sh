#!/usr/bin/env bash
# Dynamic inventory: where the hosts of this set are, and how to log in. Has no hosts before they are created.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/hosts" inventory
