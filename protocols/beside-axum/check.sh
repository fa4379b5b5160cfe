#!/usr/bin/env bash
# The program, asked over UDP and by curl, and stopped.
#
#     protocols/beside-axum/check.sh    # one line for each check
. "$(dirname "$0")/../check-lib.sh"
need curl curl

# get PATH: the answer's status and text.
get() { curl -s -m 10 -w '%{http_code} ' -o "$work/body" "http://$web/$1" && cat "$work/body"; }

# greet NAME: what a plain socket is answered.
greet() {
    local socket wanted="{\"greeting\":\"Hello, $1!\"}"
    exec {socket}<>"/dev/udp/127.0.0.1/$port"
    printf '{"name":"%s"}' "$1" >&"$socket"
    timeout 10 head -c ${#wanted} <&"$socket"
    exec {socket}>&-
}

build
serve 127.0.0.1:0 127.0.0.1:0
web=$(sed -n 's/^web on //p' "$work/server.out")
check "it is healthy" [ "$(get health)" = "200 ok" ]
for turn in 1 2 3; do
    check "greeting $turn" [ "$(greet Ann)" = '{"greeting":"Hello, Ann!"}' ]
done
check "both share their state" [ "$(get greeted/Ann)" = "200 3" ]
get stats >"$work/stats"
says "the counts" '^200 received 3, sent 3' "$work/stats"
stop
check "all was counted" [ "$(count received)$(count sent)" = 33 ]
gone() { ! curl -s -m 10 "http://$web/health"; }
check "the web server has ended too" gone
finish
