#!/usr/bin/env bash
# Checks that the contract has all its rows, each with a break and each clause with a test; that
# every test which the documents name is there, and every function which is to be broken; and that
# they name every test that is called after a row.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
contract=docs/contract.md
pages=("$contract" docs/easynetwork-tests.md)
name='[phsvl][0-9]+_[a-z0-9_]+'

# As `cargo test --workspace` builds them, without the documentation's.
cargo test --workspace --locked --tests -- --list >"$work/list" 2>"$work/log" || {
    cat "$work/log" >&2
    exit 1
}
sed -n 's/: test$//p' "$work/list" | grep -oE "\b$name" | sort -u >"$work/tests"
grep -ohE "\`$name\`" "${pages[@]}" | tr -d '`' | sort -u >"$work/named"

failed=0
complain() {
    while read -r what; do
        printf "$1\n" "$what"
        failed=1
    done
}
complain 'there is no test %s, which the documents name' < <(comm -13 "$work/tests" "$work/named")
complain 'the documents do not name the test %s' < <(comm -23 "$work/tests" "$work/named")

for last in P9 H14 S4 V10 L8; do
    for number in $(seq "${last:1}"); do echo "${last::1}$number"; done
done | sort >"$work/rows"
grep -oE '^\| [PHSVL][0-9]+ ' "$contract" | tr -d '| ' | sort >"$work/written"
complain 'the contract has to have the row %s once' < <(comm -3 "$work/rows" "$work/written" | tr -d '\t')
complain 'there is no test of the row %s' < <(
    grep -oE '^[a-z][0-9]+' "$work/tests" | tr 'a-z' 'A-Z' | sort -u | comm -23 "$work/rows" -
)

# A row goes on until the next: clauses, each with its tests, and a break.
complain '%s' < <(awk -F'|' '
    function end() { if (row != "" && !broken) print row " has no break" }
    /^\| [PHSVL][0-9]+ / { end(); row = $2; gsub(/ /, "", row); broken = 0; next }
    !/^\| \|/ { end(); row = ""; next }
    row != "" && $3 ~ /\*Break:\*/ { broken = 1 }
    row != "" && $NF == "" && $(NF - 1) !~ /`[phsvl][0-9]+_/ { print row " has a clause without a test:" $3 }
    END { end() }' "$contract")

# *Break:* [file](../its/path), `Type::function`: what to do.
complain 'there is no %s, which is to be broken' < <(
    sed -nE 's/.*\*Break:\* \[[^]]*\]\(\.\.\/([^)]*)\), `([A-Za-z_]*::)?([A-Za-z_]*)`.*/\1 \3/p' "$contract" |
        while read -r file name; do
            grep -qE "(fn|struct) $name\b" "$file" || echo "$name in $file"
        done
)

echo "$(wc -l <"$work/tests") tests named after $(wc -l <"$work/rows") rows"
exit $failed
