#!/bin/sh
# Chooses the versions of all Python packages anew and writes them, with their hashes, to setup/*.lock.
# Hashes make an installation repeatable: a package whose bytes differ from the ones locked here is refused.
set -eu
cd "$(dirname "$0")/.."
tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
python3 -m venv "$tool"
"$tool/bin/python" -m pip install --quiet --disable-pip-version-check uv==0.13.9

compile() {
    "$tool/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --custom-compile-command "make lock" "$@"
}

compile --extra test pyproject.toml setup/build.in -o setup/requirements.lock
compile --extra benchmark --constraint setup/requirements.lock pyproject.toml -o setup/benchmark.lock
