#!/usr/bin/env bash
# Fuzzes every target, or those named, for so many seconds each:
#
#     fuzz/run.sh SECONDS [TARGET...]
#
# FUZZ_LANES says how many at a time (2). The corpora in fuzz/corpus grow; what fails is in
# fuzz/artifacts, and the log of each target in fuzz/target/logs. It needs cargo-fuzz, and no
# nightly.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
shift
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
[ $# -eq 0 ] || targets=("$@")

export RUSTC_BOOTSTRAP=1
triple=$(rustc -vV | sed -n 's/^host: //p')
built=${CARGO_TARGET_DIR:-fuzz/target}
if [ $# -eq 1 ]; then
    cargo fuzz build --target-dir "$built" "$1"
else
    cargo fuzz build --target-dir "$built"
fi

# Leaks cannot be looked for where processes must not trace others, as in many containers.
export ASAN_OPTIONS=detect_leaks=0
mkdir -p fuzz/target/logs

fuzz_one() {
    local target=$1 log=fuzz/target/logs/$1.log options=()
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    [ ! -f "fuzz/dictionaries/$target" ] || options=(-dict="fuzz/dictionaries/$target")
    if ! "$built/$triple/release/$target" "${options[@]}" -max_total_time="$seconds" -max_len=4096 \
        -timeout=60 -rss_limit_mb=2048 -malloc_limit_mb=64 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" \
        "fuzz/corpus/$target" "fuzz/seeds/$target" >"$log" 2>&1; then
        tail -n 60 "$log"
        echo "$target: failed, see $log"
        return 1
    fi
    # "#123 DONE cov: 4 ft: 5 corp: 6/7b ..." and "Done 123 runs in 21 second(s)"
    local done
    done=$(grep -o 'cov: .* corp: [0-9]*' "$log" | tail -n 1)
    echo "$target: $(grep -o '^Done .* second' "$log")s, $done"
}
export -f fuzz_one
export triple built seconds

printf '%s\n' "${targets[@]}" | xargs -P "${FUZZ_LANES:-2}" -I{} bash -euo pipefail -c 'fuzz_one {}'
