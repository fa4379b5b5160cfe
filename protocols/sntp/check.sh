#!/usr/bin/env bash
# The server, asked by chronyd and ntpdate, and stopped under load.
#
#     protocols/sntp/check.sh            # one line for each check
#     protocols/sntp/check.sh measure    # how exact it is, and how many questions a second it answers
. "$(dirname "$0")/../check-lib.sh"

# Its package would set this machine's clock, and have removed whatever does that now.
unpack chronyd chrony

# offset [ADDRESS] [OPTION]...: what chronyd says of the server's clock, and changes nothing.
offset() {
    timeout 20 chronyd -u "$(id -un)" -Q -t 10 -f /dev/null "server ${1:-127.0.0.1} port $port iburst ${*:2}" \
        >"$work/chronyd" 2>&1 || true
}

# is_tiny NUMBER: it is one, and less than a tenth of a second. Both clocks are the same.
is_tiny() { awk -v n="$1" 'BEGIN { exit !(n ~ /^[-+]?[0-9.]+(e-[0-9]+)?$/ && n < 0.1 && n > -0.1) }'; }
offset_of() { sed -nE 's/.*System clock wrong by ([-+0-9.e]+) seconds.*/\1/p' "$work/chronyd"; }

# sources: eight of chronyd ask a hundred addresses of this host each. One asks 500 times a second at
# the most. They set no clock, and end when they are told to.
sources() {
    local address of
    for address in $(seq 100); do
        echo "server 127.0.1.$address port $port minpoll -6 maxpoll -6 iburst"
    done >"$work/sources"
    load=()
    for of in $(seq 8); do
        chronyd -U -u "$(id -un)" -x -d -f <(
            printf '%s\n' "cmdport 0" "bindcmdaddress /" "pidfile $work/$of.pid"
            cat "$work/sources"
        ) >"$work/sources.log" 2>&1 &
        load+=("$!")
    done
    started+=("${load[@]}")
}

if [ "${1:-}" = measure ]; then
    build --release
    serve 127.0.0.1:0
    for turn in 1 2 3 4 5; do
        offset
        echo "$turn. chronyd: offset $(offset_of) s"
    done
    # As many as two processes ask that have 16 questions open each.
    need python3 python3
    for client in 1 2; do
        python3 - "$port" >"$work/asked$client" <<'END' &
import socket, sys, time
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(("127.0.0.1", int(sys.argv[1])))
client.settimeout(1)
question, answered, end = b"\x23" + bytes(47), 0, time.monotonic() + 5
for _ in range(16):
    client.send(question)
while time.monotonic() < end:
    client.recv(100)
    answered += 1
    client.send(question)
print(answered)
END
        asking[client]=$!
        started+=("$!")
    done
    wait "${asking[@]}"
    echo "answers a second: $((($(cat "$work/asked1") + $(cat "$work/asked2")) / 5)), two Python clients"
    stop
    finish
    exit
fi

build
serve 127.0.0.1:0 '[::1]:0'
port4=$port
port6=${addresses[1]##*:}

offset
check "chronyd: the same clock is off by less than 0.1 s: $(offset_of)" is_tiny "$(offset_of)"
offset 127.0.0.1 version 3
check "with version 3: $(offset_of)" is_tiny "$(offset_of)"
port=$port6
offset ::1
check "over IPv6: $(offset_of)" is_tiny "$(offset_of)"
port=$port4

# chronyd as it runs all day, for some seconds: it tells what it thinks of its source.
if command -v chronyc >/dev/null; then
    printf '%s\n' "server 127.0.0.1 port $port minpoll -2 maxpoll -2 iburst" "cmdport 0" \
        "bindcmdaddress $work/chronyd.sock" "pidfile $work/chronyd.pid" >"$work/one"
    chronyd -U -u "$(id -un)" -x -d -f "$work/one" >"$work/one.log" 2>&1 &
    one=$!
    started+=("$one")
    # With a stratum of its own below ours once it has chosen us.
    chosen() {
        local turn
        for turn in $(seq 100); do
            chronyc -n -h "$work/chronyd.sock" tracking >"$work/tracking" 2>&1 || true
            ! grep -qE '^Stratum\s*: 11' "$work/tracking" || return 0
            kill -0 "$one" && sleep 0.1
        done
        return 1
    }
    check "chronyd chooses it, and is of the stratum below" chosen
    says "by its name" '^Reference ID\s*: 7F000001' "$work/tracking"
    says "no leap second is near" '^Leap status\s*: Normal' "$work/tracking"
    chronyc -n -h "$work/chronyd.sock" ntpdata >"$work/ntpdata" 2>&1 || true
    says "the reference is the local clock" '^Reference ID\s*: 4C4F434C ' "$work/ntpdata"
    says "every test of an answer passes" '^NTP tests\s*: 111 111 1111' "$work/ntpdata"
    kill -TERM "$one"
    wait "$one" || true
fi
stop
check "every question has its answer" [ "$(count received)" = "$(count sent)" ]
check "none was malformed" [ "$(count malformed)" = 0 ]

# What attackers ask, for answers that go to somebody else: monlist, and a list of variables.
serve 127.0.0.1:0
for query in {1..1000}; do
    printf '\x17\x00\x03\x2a\0\0\0\0%040d' "$query" >"/dev/udp/127.0.0.1/$port"
    printf '\x16\x02\0\1\0\0\0\0\0\0\0\0' >"/dev/udp/127.0.0.1/$port"
done
stop
check "control messages are not answered" [ "$(count malformed).$(count sent)" = 2000.0 ]
check "and fill no log" [ "$(wc -l <"$work/server.log")" -lt 60 ]
says "which tells of them" 'WARN.* mode 7 is not' "$work/server.log"

# ntpdate asks port 123, so it has a network of its own.
if [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
    need ip iproute2
    need ntpdate ntpsec-ntpdate
    export program work
    # shellcheck disable=SC2016
    unshare -n bash -c '
        ip link set lo up
        "$program" 127.0.0.1:123 "[::1]:123" >"$work/123.out" 2>"$work/123.log" &
        until grep -q serving "$work/123.out"; do kill -0 $! || exit; done
        timeout 10 ntpdate -q 127.0.0.1
        timeout 10 ntpdate -q ::1
        kill -TERM $!
        wait $!
    ' >"$work/ntpdate" 2>&1 || true
    for address in 127.0.0.1 ::1; do
        line=$(grep -F "($address)" "$work/ntpdate" || grep -F " $address " "$work/ntpdate" || true)
        check "ntpdate -q $address: $line" \
            is_tiny "$(grep -oE '[-+][0-9]+\.[0-9]+ \+/- ' <<<"$line" | cut -d' ' -f1)"
        check "of stratum 10" grep -q ' s10 ' <<<"$line"
    done
    says "each answered once" '^received 2, sent 2,' "$work/123.out"
else
    echo "skipped  ntpdate asks port 123 alone, and a network for that takes root"
fi

# SIGTERM under load. chronyd takes another port for each question.
serve 0.0.0.0:0
capture
sources
loaded
stop
kill -TERM "${load[@]}"
wait "${load[@]}" || true
end_capture 2 1
check "there was load" [ "$answers" -gt 500 ]
check "every question of 10 ms before SIGTERM is answered" [ "$unanswered" = 0 ]
check "what the server has sent is what was seen" [ "$(count sent)" = "$answers" ]
check "what was not answered was dropped, and counted" \
    [ "$(count received)" = $(($(count sent) + $(count dropped))) ]
finish
