#!/usr/bin/env bash
# Checks that the pages which are read first stay short: the README under 600 words, each page of
# the guide under 900. What counts is everything outside of code blocks, tables included.
set -euo pipefail
cd "$(dirname "$0")/.."

words() { # of one page: what has a letter or a digit in it
    awk '/^ *```/ { code = !code; next } !code' "$1" | tr -s '[:space:]' '\n' | grep -c '[[:alnum:]]'
}

failed=0
check() { # page, limit
    local count
    count=$(words "$1")
    printf '%5d of %d  %s\n' "$count" "$2" "$1"
    if [ "$count" -ge "$2" ]; then
        echo "$1 is too long: $count words, and it has to stay under $2" >&2
        failed=1
    fi
}

check README.md 600
# The guide is what its index names in its list of pages.
while read -r page; do
    check "docs/$page" 900
done < <(sed -nE 's/^[0-9]+\. \[[^]]*\]\(([a-z-]+\.md)\).*/\1/p' docs/README.md)
exit $failed
