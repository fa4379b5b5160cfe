#!/usr/bin/env bash
# The server, asked by radclient, and stopped under load.
#
#     protocols/radius/check.sh            # one line for each check
#     protocols/radius/check.sh measure    # how long 2,000 requests take, 200 at once
. "$(dirname "$0")/../check-lib.sh"

need radclient freeradius-utils

# request USER PASSWORD [ATTRIBUTE...]: one of radclient's lists of attributes.
request() {
    printf '%s\n' "User-Name = \"$1\"" "User-Password = \"$2\"" "${@:3}" ''
}

# Every tenth has a wrong password.
requests() { # how many
    local number
    for number in $(seq "$1"); do
        if [ $((number % 10)) = 0 ]; then
            request ann wrong "NAS-Port = $number" 'Message-Authenticator = 0x00'
        else
            request ann correct-horse "NAS-Port = $number" 'Message-Authenticator = 0x00'
        fi
    done
}

# ask ADDRESS SECRET ARGUMENT...: what radclient says of the requests that it reads.
ask() {
    timeout 20 radclient -t 2 -r 1 "${@:3}" "$1:$port" auth "$2" >"$work/radclient" 2>&1 || true
}

if [ "${1:-}" = measure ]; then
    build --release
    serve example.conf 127.0.0.1:0
    requests 2000 >"$work/requests"
    for turn in 1 2 3 4 5; do
        begin=$(date +%s%N)
        ask 127.0.0.1 testing123 -s -p 200 -f "$work/requests"
        end=$(date +%s%N)
        echo "$turn. 2,000 requests, 200 at once: $(((end - begin) / 1000000)) ms, all of radclient;" \
            "lost $(sed -n 's/^\s*Lost\s*: //p' "$work/radclient")"
    done
    stop
    finish
    exit
fi

build
serve example.conf 127.0.0.1:0 '[::1]:0'
port4=$port
port6=${addresses[1]##*:}

request ann correct-horse 'Message-Authenticator = 0x00' | ask 127.0.0.1 testing123 -x
says "a user is accepted" 'Received Access-Accept' "$work/radclient"
says "and greeted" 'Reply-Message = "Hello, ann"' "$work/radclient"
says "the reply has a Message-Authenticator" '^\s+Message-Authenticator = 0x' "$work/radclient"
request bob battery-staple-of-more-than-sixteen-characters 'Message-Authenticator = 0x00' |
    ask 127.0.0.1 testing123 -x
says "a long password" 'Received Access-Accept' "$work/radclient"
request ann wrong 'Message-Authenticator = 0x00' | ask 127.0.0.1 testing123 -x
says "a wrong password" 'Received Access-Reject' "$work/radclient"
request ann correct-horse \
    'Message-Authenticator = 0x00' 'Proxy-State = 0x0102' 'Proxy-State = 0x03' |
    ask 127.0.0.1 testing123 -x
says "what a proxy adds" '^\s+Proxy-State = 0x0102' "$work/radclient"
says "all of it" '^\s+Proxy-State = 0x03' "$work/radclient"

request ann correct-horse 'Message-Authenticator = 0x00' 'Packet-Src-IP-Address = 127.0.0.2' |
    ask 127.0.0.1 another-secret -x
says "another client has another secret" 'Received Access-Accept' "$work/radclient"
port=$port6
request ann correct-horse 'Message-Authenticator = 0x00' | ask '[::1]' a-third-secret -6 -x
says "and one over IPv6" 'Received Access-Accept' "$work/radclient"
port=$port4

request ann correct-horse 'Message-Authenticator = 0x00' | ask 127.0.0.1 another-secret -x -t 0.3
says "not with the wrong secret" 'No reply from server' "$work/radclient"
request ann correct-horse | ask 127.0.0.1 testing123 -x -t 0.3
says "not without a Message-Authenticator" 'No reply from server' "$work/radclient"
request ann correct-horse 'Message-Authenticator = 0x00' 'Packet-Src-IP-Address = 127.0.0.3' |
    ask 127.0.0.1 testing123 -x -t 0.3
says "not a stranger" 'No reply from server' "$work/radclient"

requests 2000 >"$work/requests"
ask 127.0.0.1 testing123 -s -p 200 -f "$work/requests"
says "of 2,000 requests 1,800 are accepted" 'Accepted\s*: 1800$' "$work/radclient"
says "and 200 rejected" 'Rejected\s*: 200$' "$work/radclient"
says "none is lost" 'Lost\s*: 0$' "$work/radclient"
stop
check "every request was answered once" [ "$(count sent)" = 2006 ]
check "two had no proof, and the log says so" [ "$(count failed)" = 2 ]
says "of one" 'Message-Authenticator' "$work/server.log"
check "the stranger was dropped" [ "$(count dropped)" = 1 ]

# SIGTERM under load: what was asked before is answered; what comes while it is, is dropped. Each
# radclient sends its requests in bursts, so there are several, out of step.
serve example.conf 127.0.0.1:0
capture
requests 2000 >"$work/requests"
load=()
for client in 1 2 3 4 5; do
    timeout 4 radclient -r 1 -t 1 -p 40 -f "$work/requests" "127.0.0.1:$port" auth testing123 \
        >/dev/null 2>&1 &
    load+=("$!")
    sleep 0.0$((client + 5))
done
started+=("${load[@]}")
loaded
stop
wait "${load[@]}" || true
end_capture 1 1 2
check "there was load" [ "$answers" -gt 300 ]
check "every question of 10 ms before SIGTERM is answered" [ "$unanswered" = 0 ]
check "what the server has sent is what was seen" [ "$(count sent)" = "$answers" ]
check "later questions were dropped and counted, and nothing else happened to any" \
    [ "$(count received)" = $(($(count sent) + $(count dropped))) ]
finish
