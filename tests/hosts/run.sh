#!/usr/bin/env bash
# Run Molecule's scenarios on real hosts, two at a time. The last line is "hosts: N passed, N failed", above it is what
# failed and why, as pytest says it.
# usage: run.sh [SCENARIO...] (all of them without); needs what tests/dev/setup.sh makes, and for nspawn root
set -euo pipefail
# shellcheck source=tests/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../dev/common.sh"
cd "$ROOT"
only_one hosts

AT_ONCE=2
# the sets of hosts of this run are named and addressed after these, see molecule/*/molecule.yml
export ZERODOWN_SCENARIOS_ID=${ZERODOWN_SCENARIOS_ID:-zdp} ZERODOWN_SCENARIOS_NET=${ZERODOWN_SCENARIOS_NET:-10.79}

# also when a run was interrupted, or the one before was killed
destroy_hosts() {
    local set
    for set in "$DEV/hosts/sets/$ZERODOWN_SCENARIOS_ID"*; do
        [[ ! -d $set ]] || ZERODOWN_HOSTS_ID=${set##*/} tests/hosts/hosts down
    done
}

scenario() {
    local name=$1 start=$SECONDS log=$LOGS/hosts-$1.log molecule
    molecule test --scenario-name "$name" >"$log" 2>&1 &
    molecule=$!
    trap 'kill "$molecule"; wait "$molecule"' TERM
    # Ansible calls it a success when no host matched
    if wait "$molecule" && grep -qE '^[a-z][a-z0-9-]* +: ok=[1-9]' <(grep -v '^localhost ' "$log"); then
        printf '    %s passed in %d s\n' "$name" $((SECONDS - start))
    else
        printf '    %s FAILED after %d s; the end of %s:\n' "$name" $((SECONDS - start)) "$log"
        tail -n 60 "$log"
        return 1
    fi
}

if (($#)); then
    scenarios=("$@")
else
    mapfile -t scenarios < <(cd molecule && printf '%s\n' */molecule.yml | xargs -n1 dirname)
fi
if [[ ${ZERODOWN_HOSTS_BACKEND:-nspawn} == nspawn ]]; then
    [[ $EUID == 0 ]] || die 'hosts by systemd-nspawn need root; without it set ZERODOWN_HOSTS_BACKEND=podman.'
    step 'tools of the test hosts' tests/hosts/hosts deps
fi
# shellcheck disable=SC2046  # process ids are to be split
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true; destroy_hosts' EXIT
trap 'exit 130' INT TERM
destroy_hosts

bases=$(sed -n 's/^ *testhost_base: //p' molecule/*/inventory/hosts.yml | sort -u)
export ZERODOWN_HOSTS_ID=${ZERODOWN_SCENARIOS_ID}base ZERODOWN_HOSTS_NET=$ZERODOWN_SCENARIOS_NET.0
for base in $bases; do
    step "base $base" tests/hosts/hosts build "$base"
done
unset ZERODOWN_HOSTS_ID ZERODOWN_HOSTS_NET

passed=0 running=0 failed=()
declare -A name_of
finish_one() {
    local process
    if wait -n -p process; then passed=$((passed + 1)); else failed+=("${name_of[$process]}"); fi
    running=$((running - 1))
}
for name in "${scenarios[@]}"; do
    ((running < AT_ONCE)) || finish_one
    printf '==> scenario %s\n' "$name"
    scenario "$name" {LOCK}>&- &
    name_of[$!]=$name
    running=$((running + 1))
done
while ((running)); do finish_one; done
for name in "${failed[@]}"; do
    printf '___ molecule/%s ___\n' "$name"
    env --chdir=tests python -m support.ansible_output "$LOGS/hosts-$name.log" | sed 's/^/E   /'
done
((${#failed[@]} == 0)) || printf 'FAILED molecule/%s\n' "${failed[@]}"
printf 'hosts: %d passed, %d failed\n' "$passed" "${#failed[@]}"
((${#failed[@]} == 0))
