#!/usr/bin/env bash
# Make a mirror of Node archives, laid out like the official one, from the npm packages that carry Node's binaries.
# usage: node_mirror.sh DIRECTORY NPM_VERSION NODE_VERSION...
set -euo pipefail

mkdir -p "$1"
mirror=$(cd "$1" && pwd) npm_version=$2
shift 2
case $(uname -m) in
x86_64) platform=linux-x64 ;;
aarch64) platform=linux-arm64 ;;
*) echo "node_mirror: no package with Node's binary is known for $(uname -m)" >&2 && exit 1 ;;
esac

exec {lock}>"$mirror/.lock"
flock "$lock"
for version; do
    archive=node-v$version-$platform
    [[ ! -e $mirror/v$version/SHASUMS256.txt ]] || continue
    work=$(mktemp -d "$mirror/.work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && npm pack --silent "node-$platform@$version" "npm@$npm_version" >/dev/null)
    mkdir -p "$work/$archive/lib/node_modules/npm"
    tar -C "$work/$archive" --strip-components=1 -xf "$work/node-$platform-$version.tgz"
    tar -C "$work/$archive/lib/node_modules/npm" --strip-components=1 -xf "$work/npm-$npm_version.tgz"
    for program in npm npx; do
        ln -s "../lib/node_modules/npm/bin/$program-cli.js" "$work/$archive/bin/$program"
    done
    mkdir -p "$mirror/v$version"
    # quick rather than small
    tar -C "$work" --owner=0 --group=0 -c "$archive" | gzip -1 >"$mirror/v$version/$archive.tar.gz"
    (cd "$mirror/v$version" && sha256sum "$archive.tar.gz" >"$work/SHASUMS256.txt")
    mv "$work/SHASUMS256.txt" "$mirror/v$version/"
    rm -rf "$work"
done
