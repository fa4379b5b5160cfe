#!/usr/bin/env bash
# Checks that every test which the documents name is there, and that every row of the contract has one.
set -euo pipefail
cd "$(dirname "$0")/.."

tests=$(mktemp)
trap 'rm -f "$tests"' EXIT
cargo test --workspace --all-features --locked -- --list 2>/dev/null |
    sed -n 's/: test$//p' | grep -oE '\b[phsvl][0-9]+_[a-z0-9_]+' | sort -u >"$tests"

failed=0
for page in docs/contract.md docs/easynetwork-tests.md; do
    for name in $(grep -oE '`[phsvl][0-9]+_[a-z0-9_]+`' "$page" | tr -d '`' | sort -u); do
        if ! grep -qx "$name" "$tests"; then
            echo "$page names a test that is not there: $name"
            failed=1
        fi
    done
done
for row in $(grep -oE '^\| [PHSVL][0-9]+ ' docs/contract.md | tr -d '| ' | tr 'A-Z' 'a-z'); do
    if ! grep -q "^${row}_" "$tests"; then
        echo "row $row has no test"
        failed=1
    fi
done
# And the other way round: a test that no document names is not found by its row.
for name in $(grep -vxF -f <(grep -ohE '`[phsvl][0-9]+_[a-z0-9_]+`' docs/*.md | tr -d '`') "$tests"); do
    echo "docs/contract.md does not name the test $name"
    failed=1
done
echo "$(wc -l <"$tests") tests named after $(grep -oE '^[a-z][0-9]+' "$tests" | sort -u | wc -l) rows"
exit $failed
