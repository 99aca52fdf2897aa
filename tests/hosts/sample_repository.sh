#!/usr/bin/env bash
# Make a git bundle of the sample app with the tags v1 and v2; the revisions are the same every time.
# usage: sample_repository.sh FILE
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../fixtures/sample-app" && pwd)
bundle=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# neither the user's settings nor a git that calls us may have a say
unset "${!GIT_@}"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=Test GIT_AUTHOR_EMAIL=test@example.com GIT_AUTHOR_DATE=2026-01-01T00:00:00Z
export GIT_COMMITTER_NAME=Test GIT_COMMITTER_EMAIL=test@example.com GIT_COMMITTER_DATE=2026-01-01T00:00:00Z

tar -C "$source" --exclude=node_modules --exclude=dist -c . | tar -C "$work" -x
cd "$work"
git init --quiet --initial-branch=main
for version in 1 2; do
    echo "export const version = '$version.0.0';" >src/version.ts
    git add --all
    git commit --quiet --message="Version $version.0.0"
    git tag "v$version"
done
git bundle create --quiet "$bundle" --all
