# shellcheck shell=bash
# Sourced by the scripts beside it: where everything is, and how progress is shown.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
DEV=$ROOT/.dev
LOGS=$DEV/logs
mkdir -p "$LOGS"

export PATH="$DEV/venv/bin:$DEV/node/bin:$PATH"
# Ansible refuses to start in the locale that a bare machine has
export LC_ALL=C.UTF-8
# nothing is read from or written to the user's own Ansible
export ANSIBLE_CONFIG="$ROOT/tests/dev/ansible.cfg" ANSIBLE_HOME="$DEV/ansible" ANSIBLE_COLLECTIONS_PATH="$DEV/collections"
export PIP_DISABLE_PIP_VERSION_CHECK=1 npm_config_update_notifier=false NO_COLOR=1
# npm's would be in the directory for temporary files
export NODE_COMPILE_CACHE="$DEV/node-compile-cache"

die() {
    printf 'ERROR: %s\n' "$*" >&2
    exit 1
}

# Run one of us at a time. usage: only_one NAME (the lock ends with the process)
only_one() {
    exec {LOCK}>"$DEV/$1.lock"
    if ! flock -n "$LOCK"; then
        echo "    waiting for another $1 in this checkout to end"
        flock "$LOCK"
    fi
}

# Run a command with its output in a log, show that time passes, and the log's end if it fails.
# usage: step TITLE COMMAND [ARGUMENT...]
step() {
    local title=$1 start=$SECONDS log pid
    shift
    log=$LOGS/$(printf '%s' "$title" | tr -cs 'a-zA-Z0-9.\n' '-').log
    printf '==> %s\n' "$title"
    # the lock is not for children that outlive us
    "$@" >"$log" 2>&1 {LOCK}>&- </dev/null &
    pid=$!
    while sleep 0.2 && kill -0 "$pid" 2>/dev/null; do
        (((SECONDS - start) % 5 == 4)) && printf '    … %d s\n' $((SECONDS - start + 1)) && sleep 1
    done
    if ! wait "$pid"; then
        tail -n 40 "$log" >&2
        die "$title failed; the whole output is in $log"
    fi
}
