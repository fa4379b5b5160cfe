#!/usr/bin/env bash
# Checks the documents against the tests and the code, and makes docs/contract-tests.md of the rows
# in docs/contract.md, the clauses and breaks in docs/clauses.txt, and the names of the tests.
# `docs/check.sh --write` writes that page; without it the page has to be up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

contract=docs/contract.md
clauses=docs/clauses.txt
page=docs/contract-tests.md
name='[chlpsv][0-9]+_[a-z0-9_]+'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The tests as `cargo test --workspace` builds them, without the documentation's, and the files that
# they are written in.
cargo test --workspace --locked --tests -- --list >"$work/list" 2>"$work/log" || {
    cat "$work/log" >&2
    exit 1
}
sed -n 's/: test$//p' "$work/list" | grep -oE "\b$name" | sort -u >"$work/tests"
git grep --untracked -oE "\bfn $name" -- '*.rs' | sed -E 's/^(.*):fn (.*)$/\2\t\1/' | sort -u >"$work/places"
cut -f1 "$work/places" | sort -u >"$work/placed"
sort -t$'\t' -k2,2 -k1,1 "$work/places" >"$work/by_file"

# The rows: <a id="p1"></a>**P1. Parts.** A protocol is ...
sed -nE 's/^<a id="([a-z][0-9]+)"><\/a>\*\*([A-Z][0-9]+)\. ([^*]*)\*\*.*/\2\t\1\t\3/p' "$contract" >"$work/rows"

{
    comm -23 "$work/tests" "$work/placed" | sed 's/.*/no file has the test &/'
    comm -13 "$work/tests" "$work/placed" | sed 's/.*/the test & is in a file, but never built/'
    git grep --untracked -oE "\`$name\`" -- '*.md' ":!$page" | tr -d '`' | sort -u |
        while IFS=: read -r file test; do
            if [ "$file" = "$contract" ]; then
                echo "$contract names the test $test: that is for $clauses"
            elif ! grep -qx "$test" "$work/tests"; then
                echo "$file names the test $test, which is not there"
            fi
        done
} >"$work/complaints"

cat >"$work/page" <<'END'
<!-- Made by docs/check.sh --write. Do not edit: clauses and breaks are in docs/clauses.txt. -->

# The tests of the contract

For every row of the [contract](contract.md): its clauses, each with a test or a few that show it; a
*break*, which is a small change of the code that makes the tests behind it fail, and so proves that
they can; and all tests of the row. A test's name begins with its row, or with several, so
`cargo test --workspace v4_` runs what there is for V4.

A test of the server is one body, run on three transports and on both tokio runtimes:
`v4_concurrent_shutdowns_all_return::{memory,udp,plain}_{current,multi}`; the bench is
[server/tests/common](../server/tests/common/mod.rs). Where time itself is tested, the body runs on
the memory transport with tokio's clock paused (`::memory_paused`), so that a minute takes no time and
*never early* is exact. A body that needs what a transport cannot do names the transports that it runs
on (`on memory, udp;`); none is skipped silently. A log record at *info* or above that a test did not
expect fails it. The dispatch core, the queues and the transports have tests of their own beside their
code, in `server/src`; what the transports share is tested in
[common.rs](../server/src/transport/tests/common.rs). The codecs run the suite of
`postbox_protocol::conformance` besides their own tests.

Tests with `_root_` in their name need a network namespace, and so root: without
`POSTBOX_ROOT_TESTS=1` they do nothing, and CI sets it. Besides the tests, `.ci/run hostile` sends a
million hostile datagrams to a server and checks that the counters add up (L7).
END

awk -v clauses="$clauses" -v complaints="$work/complaints" '
    BEGIN { FS = "\t" }
    function complain(text) { print text >>complaints }
    function names(list) { gsub(/ /, "`, `", list); return "`" list "`" }

    # Whether a file has this function or struct, within an `impl` of its type if one is given.
    function has(file, code,    owner, within, line, found) {
        if (split(code, owner, "::") == 2) code = owner[2]; else owner[1] = ""
        within = owner[1] == ""
        while ((getline line <file) > 0) {
            line = line " "
            if (owner[1] != "" && line ~ /^impl/) within = line ~ "[ >]" owner[1] "[^A-Za-z0-9_]"
            if (within && line ~ "(fn|struct) " code "[^A-Za-z0-9_]") found = 1
        }
        close(file)
        return found
    }

    # A clause, or a break, has ended.
    function end(    rest, at, file, code) {
        if (text != "" && tests == "") complain(row " has no test for: " text)
        if (text == "" || tests == "") { text = tests = ""; return }
        if (sub(/^Break: /, "", text)) {
            at = index(text, ", "); file = substr(text, 1, at - 1); rest = substr(text, at + 2)
            at = index(rest, ": "); code = substr(rest, 1, at - 1); rest = substr(rest, at + 2)
            if (!has(file, code)) complain(row " is to be broken in " file ", " code ": that is not there")
            broken[row] = broken[row] "\n*Break:* in [" file "](../" file "), `" code "`: " rest \
                " Turns red: " names(tests) ".\n"
        } else {
            said[row] = said[row] "- " text "\n  " names(tests) "\n"
        }
        text = tests = ""
    }

    FILENAME == ARGV[1] {
        if (tolower($1) != $2) complain("the anchor of " $1 " is " $2)
        last = order[rows]
        above = rows && substr(last, 1, 1) == substr($1, 1, 1) ? substr(last, 2) : 0
        if (substr($1, 2) + 0 <= above + 0) complain("the contract has " $1 " after " last)
        order[++rows] = $1; anchor[$1] = $2; title[$1] = $3
        sub(/\.$/, "", title[$1])
        next
    }
    FILENAME == ARGV[2] {
        there[$1] = 1
        for (rest = $1; match(rest, /^[chlpsv][0-9]+_/); rest = substr(rest, RLENGTH + 1)) {
            of = toupper(substr(rest, 1, RLENGTH - 1))
            if (!(of in title)) complain("the test " $1 " is named after the row " of ", which is not there")
            if (in_file[of] != $2) all[of] = all[of] "- [" $2 "](../" $2 ")\n"
            in_file[of] = $2
            all[of] = all[of] "  - `" $1 "`\n"
            count[of]++
        }
        next
    }
    /^#/ || /^$/ { next }
    /^[A-Z][0-9]+$/ {
        end(); row = $0
        if (row != order[++at_row]) complain(clauses " has " row " where the contract has " order[at_row])
        next
    }
    /^        [^ ]/ {
        sub(/^ +/, "")
        if (!($0 in there)) complain(clauses " names the test " $0 ", which is not there")
        tests = tests (tests == "" ? "" : " ") $0
        next
    }
    /^    [^ ]/ {
        sub(/^ +/, "")
        if (tests != "" || /^Break: /) end()
        text = text (text == "" ? "" : " ") $0
        next
    }
    { complain(clauses " cannot be read at line " FNR) }
    END {
        end()
        for (i = 1; i <= rows; i++) {
            row = order[i]
            if (!said[row]) complain(row " has no clause in " clauses)
            if (!broken[row]) complain(row " has no break in " clauses)
            if (!count[row]) complain(row " has no test")
            printf "\n## <a id=\"%s\"></a>[%s](contract.md#%s) %s\n\n", anchor[row], row, anchor[row], title[row]
            printf "%s%s", said[row], broken[row]
            printf "\n<details><summary>All tests of %s: %d</summary>\n\n%s\n</details>\n", row, count[row], all[row]
        }
        if (!rows) complain("the contract has no rows")
    }' "$work/rows" "$work/by_file" "$clauses" >>"$work/page"

if [ -s "$work/complaints" ]; then
    cat "$work/complaints"
    exit 1
fi
if [ "${1-}" = --write ]; then
    cp "$work/page" "$page"
elif ! diff -u "$page" "$work/page"; then
    echo "$page is not up to date: docs/check.sh --write"
    exit 1
fi
echo "$(wc -l <"$work/tests") tests named after $(wc -l <"$work/rows") rows"
