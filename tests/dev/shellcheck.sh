#!/usr/bin/env bash
# Every tracked or new shell script, by name or by its first line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mapfile -t scripts < <(
    git ls-files -co --exclude-standard | while read -r file; do
        if [[ -f $file ]] && { [[ $file == *.sh ]] || head -c 40 "$file" | grep -qaE '^#!.*\b(ba)?sh'; }; then
            printf '%s\n' "$file"
        fi
    done
)
exec shellcheck --external-sources --severity=style "${scripts[@]}"
