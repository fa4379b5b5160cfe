#!/usr/bin/env bash
# Drives the machine with sipp: many calls from one port and from a port each, through a network
# that loses, and stops it under load.
#
#     protocols/sip/check.sh [measure]
#
# `measure` makes 5,000 calls at 500 a second and 15,000 at 1,500, and prints how they went.
. "$(dirname "$0")/../check-lib.sh"

need sipp sip-tester
need python3 python3
export TERM=dumb # it draws

# calls NAME OPTION...: sipp, which ends by itself. What it writes is in a folder of that name.
calls() {
    mkdir -p "$work/$1"
    (cd "$work/$1" && timeout 120 sipp "127.0.0.1:$port" -i 127.0.0.1 -p "$(free_port)" -nostdin \
        -max_socket 4000 -timeout 100 -trace_stat -fd 1 -stf stat -trace_err -error_file errors \
        "${@:2}" >screen 2>&1)
}

# figure NAME COLUMN: the last one of sipp's statistics.
figure() {
    awk -F ';' -v column="$2" '
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == column) at = i }
        END { print $at + 0 }' "$work/$1/stat"
}

# complete LABEL NAME NUMBER: all calls were made, and all ended as the scenario says.
complete() {
    local made good bad
    made=$(figure "$2" TotalCallCreated)
    good=$(figure "$2" 'SuccessfulCall(C)')
    bad=$(figure "$2" 'FailedCall(C)')
    check "$1: $good of $3" test "$made $good $bad" = "$3 $3 0"
    [ "$good" = "$3" ] || head -n 20 "$work/$2/errors" 2>/dev/null
}

if [ "${1:-}" = measure ]; then
    build --release
    serve 127.0.0.1:0 0
    set +e
    for rate in 500 1500; do
        for sockets in u1 un; do
            number=$((rate * 10))
            begin=$(date +%s%N)
            calls "$sockets$rate" -sn uac -t "$sockets" -m "$number" -r "$rate" -l "$number" \
                -buff_size 8000000
            printf '%-3s %5d a second: %5d of %5d calls, %5d sent again, %s s\n' \
                "$sockets" "$rate" "$(figure "$sockets$rate" 'SuccessfulCall(C)')" "$number" \
                "$(figure "$sockets$rate" 'Retransmissions(C)')" \
                "$(awk -v ns=$(($(date +%s%N) - begin)) 'BEGIN { printf "%.1f", ns / 1e9 }')"
        done
    done
    awk '/^Vm(HWM|RSS)/' "/proc/$server/status"
    stop
    exit
fi

build
serve 127.0.0.1:0 100
set +e # a client that fails is a check that fails

calls one-port -sn uac -t u1 -m 300 -r 300 -d 200
complete "calls from one port" one-port 300
calls ports -sn uac -t un -m 300 -r 300 -d 200
complete "calls from a port each" ports 300
calls options -sf "$PWD/options.xml" -t u1 -m 100 -r 100 -trace_logs -log_file log
complete "OPTIONS, in compact headers" options 100
says "it tells its methods" 'INVITE, ACK, CANCEL, BYE' "$work/options/log"
stop
# Each call: INVITE, ACK and BYE; 100, 180, 200 and 200.
check "nothing was sent twice" \
    test "$(count received) $(count sent)" = "$((600 * 3 + 100)) $((600 * 4 + 100))"
check "every call is counted" test "$(count calls) $(count failed) $(count dropped)" = "700 0 0"

# It rings for longer than the caller waits.
serve 127.0.0.1:0 60000
calls cancel -sf "$PWD/cancel.xml" -t u1 -m 100 -r 100
complete "calls that are cancelled, with answers by rport" cancel 100
stop

# One datagram in twenty is lost, of requests and of answers: these take the way of the requests
# with rport alone. Each call is long enough for its 200 to be acknowledged in the end: one that
# comes after the BYE is taken by sipp for the answer to that.
serve 127.0.0.1:0 100
direct=$port
lossy 5 0.05 0
sipp -sd uac | sed 's/;branch=/;rport&/' >"$work/rport.xml"
calls lossy -sf "$work/rport.xml" -t u1 -m 200 -r 100 -d 4000 -l 200
complete "calls where 5 % are lost" lossy 200
end_lossy
says "the network has lost some" '^lost [1-9]' "$work/proxy.out"
port=$direct
stop

# SIGTERM, while calls of a second each come in.
serve 127.0.0.1:0 100
calls load -sn uac -t u1 -m 800 -r 200 -d 1000 -max_invite_retrans 2 &
client=$!
until [ "$(figure load TotalCallCreated 2>/dev/null || echo 0)" -ge 300 ]; do sleep 0.05; done
stop
check "newcomers are dropped, and counted" test "$(count newcomers)" -ge 1
check "nothing else is dropped" test "$(count dropped)" = "$(count newcomers)"
wait "$client"
good=$(figure load 'SuccessfulCall(C)')
check "all $good calls that had begun ended well" test "$good $(count failed)" = "$(count calls) 0"
check "the others are those that came later" test "$((good + $(figure load 'FailedCall(C)')))" = 800
says_not "nobody was cut" 'deadline has come' "$work/server.log"

# And with a deadline that is too short.
serve 127.0.0.1:0 0 60 1
calls cut -sn uac -t u1 -m 50 -r 1000 -d 60000 &
client=$!
until [ "$(figure cut CurrentCall 2>/dev/null || echo 0)" -ge 50 ]; do sleep 0.05; done
stop
says "who does not end in time is cut" 'deadline has come.* handlers=50' "$work/server.log"
check "and counted" test "$(count failed)" = 50
wait "$client"
check "the machine hung up" test "$(grep -o 'unexpected BYE' "$work/cut/errors" | grep -c .)" = 50
finish
