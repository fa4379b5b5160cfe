#!/bin/sh
# Postbox and implementations that nobody here wrote: EasyNetwork over real sockets, each as client
# and as server, and Python's codecs as oracles of ours (docs/oracles.md).
#
#     interop/run.sh
#
# Needs a Python of at least 3.11 with venv, and a package index for the first run. Prints one line
# per check and then `N passed, N failed`; ends with 1 if a check failed. PYTHON chooses the Python.

set -u

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.." || exit 1
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
venv=$target/interop-venv
python=$venv/bin/python
lines=$target/interop-lines
output=$target/interop-output # each lane's own
export PYTHONDONTWRITEBYTECODE=1
: >"$lines"

say() {
    echo "$*" | tee -a "$lines"
}

# Each check has a limit of its own; these are for a client that hangs as a whole.
easynetwork_client() {
    timeout -k 5 300 "$python" "$here/easynetwork_client.py" "$@"
}

postbox_client() {
    timeout -k 5 300 "$target/debug/interop_client" "$@"
}

# pair LABEL CLIENT SERVER_COMMAND...: runs the checks of one client against one server.
pair() {
    label=$1
    client=$2
    shift 2
    "$client" "$label" "$@" >"$output.$lane"
    status=$?
    tee -a "$lines" <"$output.$lane"
    if ! grep -q '^ok ' "$output.$lane"; then
        say "FAILED  $label: no check passed (status $status)"
    elif [ "$status" -ne 0 ] && ! grep -q '^FAILED ' "$output.$lane"; then
        say "FAILED  $label: ended with status $status"
    fi
}

finish() {
    passed=$(grep -c '^ok ' "$lines")
    failed=$(grep -c '^FAILED ' "$lines")
    skipped=$(grep -c '^skipped ' "$lines")
    rm -f "$lines" "$output".*
    [ "$skipped" -eq 0 ] || echo "$skipped skipped"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

requirements=$here/requirements.txt
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
    rm -rf "$venv"
    if ! timeout 120 "${PYTHON:-python3}" -m venv "$venv" ||
        ! timeout 300 "$python" -m pip install --quiet --disable-pip-version-check -r "$requirements"; then
        say "FAILED  the virtual environment with $(tr '\n' ' ' <"$requirements")"
        finish
    fi
    cp "$requirements" "$venv/requirements.txt"
fi
if ! timeout 1800 cargo build --quiet --package postbox-interop --bins; then
    say "FAILED  building the programs of Postbox"
    finish
fi

POSTBOX_DESCRIPTORS=$target/interop-descriptors
export POSTBOX_DESCRIPTORS
"$target/debug/interop_oracle" descriptors >"$POSTBOX_DESCRIPTORS"

python_client() {
    pair "$1: Python client, Postbox server" easynetwork_client "$1" "$target/debug/interop_server" "$1"
}

easynetwork_server() {
    pair "$1: Postbox client, EasyNetwork server" postbox_client "$1" "$python" "$here/easynetwork_server.py" "$1"
}

python_server() {
    pair "$1: Postbox client, Python server" postbox_client "$1" "$python" "$here/plain_server.py" "$1"
}

# Questions with numbers, in JSON.
numbered_client() {
    timeout -k 5 300 "$python" "$here/numbered_client.py" "$@"
}

numbered() {
    pair "numbered: Python client, Postbox server" numbered_client "$target/debug/interop_server" numbered
    pair "numbered: Postbox client, EasyNetwork server" postbox_client numbered "$python" "$here/easynetwork_server.py" numbered
    pair "numbered: Postbox client, Python server" postbox_client numbered "$python" "$here/plain_server.py" numbered
}

wrappers() {
    timeout -k 5 300 "$python" "$here/wrappers.py" "$target/debug/interop_wrappers"
}

oracle() {
    timeout -k 5 600 "$python" "$here/oracles/oracle_${1#oracle: }.py" "$target/debug/interop_oracle"
}

# EasyNetwork with itself: it shows that the checks and the machine are right.
easynetworks() {
    pair "EasyNetwork client, EasyNetwork server" easynetwork_client json "$python" "$here/easynetwork_server.py" json
}

postboxes() {
    pair "Postbox client, Postbox server" postbox_client json "$target/debug/interop_server" json
}

# Those who talk mostly wait for what must not come; meanwhile the oracles compute.
(
    lane=1
    easynetworks
    for format in json msgpack msgpack.base64; do python_client $format; done
) &
(
    lane=2
    for format in msgpack.zlib protobuf; do python_client $format; done
    postboxes
    for format in json msgpack msgpack.base64 msgpack.zlib; do easynetwork_server $format; done
    for format in msgpack protobuf; do python_server $format; done
) &
(
    lane=3
    numbered
    pair "wrappers" wrappers
    for format in json msgpack protobuf; do pair "oracle: $format" oracle; done
) &
wait
finish
