#!/usr/bin/env bash
# The server, asked by libcoap's client, and stopped under load.
#
#     protocols/coap/check.sh            # one line for each check
#     protocols/coap/check.sh measure    # how many requests a second
. "$(dirname "$0")/../check-lib.sh"

need coap-client-notls libcoap3-bin

# ask METHOD PATH ARGUMENT...: what the client says. A code that is an error is all that it says.
host=127.0.0.1
ask() {
    timeout 60 coap-client-notls -m "$1" "${@:3}" "coap://$host:$port$2" >"$work/said" 2>&1 || true
}
get() { ask get "$@"; }
put() { ask put "$@"; }
silence() { [ ! -s "$work/said" ]; }
same() { cmp -s "$1" "$2"; }
random() { head -c "$1" /dev/urandom >"$2"; }

# watch SECONDS PATH FILE ARGUMENT...: observes, a line for each notification. Sets `watching`.
watch() {
    : >"$3"
    coap-client-notls -w -s "$1" "${@:4}" "coap://$host:$port$2" >"$3" 2>&1 &
    watching=$!
    started+=("$watching")
    within_5_s holds "$3" 1
}
holds() { [ "$(wc -l <"$1")" -ge "$2" ]; }
within_5_s() {
    local turn
    for turn in $(seq 100); do
        "$@" && return
        sleep 0.05
    done
    echo "    not in time (turn $turn)" && return 1
}

# end_at_once PROCESS: without a word to the server, or of the shell.
end_at_once() {
    { kill -KILL "$1" && wait "$1"; } 2>/dev/null || true
}

# spent: how long the server has run on a processor, in ms.
spent() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000 / hz }' "/proc/$server/stat"; }

if [ "${1:-}" = measure ]; then
    build --release
    serve 127.0.0.1:0
    random 65536 "$work/64KiB"
    # timed LABEL REQUESTS CLIENTS ARGUMENT...: the last arguments are the client's.
    timed() {
        local client pids=() begin end before
        before=$(spent)
        begin=$(date +%s%N)
        for client in $(seq "$3"); do
            coap-client-notls "${@:4}" -o "$work/got$client" "coap://$host:$port/64KiB" >/dev/null &
            pids+=("$!")
        done
        wait "${pids[@]}"
        end=$(date +%s%N)
        awk -v label="$1" -v requests=$(($2 * $3)) -v ns=$((end - begin)) -v before="$before" \
            -v spent="$(spent)" 'BEGIN {
                printf "%-38s %6d in %5.2f s: %6d a second, %5.1f us of the server for each\n",
                    label, requests, ns / 1e9, requests * 1e9 / ns,
                    (spent - before) * 1000 / requests
            }'
    }
    timed "1 puts blocks of 16 bytes" 4096 1 -m put -b 16 -f "$work/64KiB"
    for clients in 1 4 16; do
        timed "$clients at once get blocks of 16 bytes" 4096 "$clients" -b 16
    done
    timed "64 at once get blocks of 1,024 bytes" 64 64 -b 1024
    same "$work/64KiB" "$work/got16"
    observers=()
    for client in $(seq 100); do
        coap-client-notls -w -s 10 "coap://$host:$port/time" >"$work/times$client" 2>&1 &
        observers+=("$!")
    done
    wait "${observers[@]}"
    echo "100 clients observe the time for 10 s: $(cat "$work"/times* | wc -l) notifications"
    stop
    finish
    exit
fi

build
# Who observes and pings does not always say when it ends, so it has a server of its own.
serve 127.0.0.1:0
put /door -e open
get /door -v 7 -K 1 -s 3
says "a ping is answered" 't:RST c:0\.00' "$work/said"
stop

serve 100 127.0.0.1:0 '[::1]:0'
port4=$port
port6=${addresses[1]##*:}

put /door -e open
check "something is put, and no error told" silence
get /door
says "and is there" '^open' "$work/said"
put /door -e shut -t json
get /door
says "it is put again" '^shut' "$work/said"
get /door -A json
says "as what it was put" '^shut' "$work/said"
get /door -A cbor
says "and not as something else" '^4\.06' "$work/said"
get /door -N
says "without an acknowledgement" '^shut' "$work/said"
get /.well-known/core
says "all is listed" '^</.well-known/core>;ct=40,</door>;ct=50;obs,</time>;ct=0;obs' "$work/said"
get /time
says "the time" '^[0-9]{10}' "$work/said"
get /nowhere
says "what is not there" '^4\.04' "$work/said"
put /time -e 0
says "what may not be put" '^4\.05' "$work/said"
ask post /door -e open
says "a method that is not for it" '^4\.05' "$work/said"
get /door -O 65001,1
says "an option that it does not know, and has to" '^4\.02' "$work/said"
get /door -O 65000,1
says "and one that it need not know" '^shut' "$work/said"
get /door -N -B 2 -O 65001,1
says "a reset, where nothing is acknowledged" 'got RST' "$work/said"
ask delete /door
check "it is deleted" silence
get /door
says "and gone" '^4\.04' "$work/said"

random 20000 "$work/20k"
for size in 16 64 1024; do
    put "/$size" -b "$size" -f "$work/20k"
    check "20 kB are put in blocks of $size bytes" silence
    get "/$size" -b "$size" -o "$work/got"
    check "and got so" same "$work/20k" "$work/got"
    get "/$size" -o "$work/got"
    check "and without a word about blocks" same "$work/20k" "$work/got"
done
random 65537 "$work/64KiB+1"
put /long -b 1024 -f "$work/64KiB+1"
says "more than 64 KiB are not taken" '^4\.13' "$work/said"

host='[::1]' port=$port6
get /64 -b 64 -o "$work/got"
check "over IPv6" same "$work/20k" "$work/got"
host=127.0.0.1 port=$port4

# Observations: one line at the beginning, and one for each notification.
watch 5 /time "$work/times"
wait "$watching"
check "the time comes each second" holds "$work/times" 5
check "and only then" [ "$(wc -l <"$work/times")" -le 7 ]
check "another one each time" [ "$(sort "$work/times" | uniq -d | wc -l)" -le 1 ]
put /door -e 0
watch 60 /door "$work/first"
first=$watching
watch 60 /door "$work/second" -N
second=$watching
told() { # of each state up to this one
    local last=$1 file state
    for file in "${@:2}"; do
        for state in $(seq 0 "$last"); do within_5_s grep -qx "$state" "$file" || return 1; done
        holds "$file" $((last + 1)) && ! holds "$file" $((last + 2)) || return 1
    done
}
for state in $(seq 8); do
    put /door -e "$state"
    told "$state" "$work/first" "$work/second" || break
done
check "each change is told to each observer, and once" told 8 "$work/first" "$work/second"
end_at_once "$second"
for state in $(seq 9 16); do
    put /door -e "$state"
    told "$state" "$work/first" || break
done
forgotten() { grep -q 'does not acknowledge any more' "$work/server.log"; }
check "who has died is forgotten" within_5_s forgotten
check "and the other one is told as before" told 16 "$work/first"
ask delete /door
gone() { grep -q '^4\.04' "$work/first"; }
check "also of the end" within_5_s gone

# Where one datagram in ten is lost: the client sends again after 2 or 3 seconds.
direct=$port
lossy 5 0.1 0
put /lossy -b 1024 -f "$work/20k"
get /lossy -b 1024 -o "$work/got"
check "20 kB come and go where 10 % are lost" same "$work/20k" "$work/got"
end_lossy
says "the network has lost some" '^lost [1-9]' "$work/proxy.out"
port=$direct
watch 30 /time "$work/end"
stop
told_of_end() { grep -q '^5\.03' "$work/end"; }
check "an observer is told that the server ends" within_5_s told_of_end
end_at_once "$watching"
end_at_once "$first"
check "one observer was lost" [ "$(count failed)" = 1 ]
check "and no datagram" [ "$(count dropped)" = 0 ]

# SIGTERM under load: what was asked before is answered. Each client has one question at a time.
serve 127.0.0.1:0
put /20k -b 1024 -f "$work/20k"
capture
load=()
for client in 1 2 3; do
    (while kill -0 "$server"; do
        timeout 2 coap-client-notls -b 128 -o "$work/load$client" "coap://127.0.0.1:$port/20k" &&
            sleep 0.05
    done >/dev/null 2>&1 || true) &
    load+=("$!")
done
started+=("${load[@]}")
loaded
stop
wait "${load[@]}" || true
end_capture 2 2
check "there was load" [ "$answers" -gt 500 ]
check "every question of 10 ms before SIGTERM is answered" [ "$unanswered" = 0 ]
put_before=20 # blocks, before the capture
check "what the server has sent is what was seen" [ "$(count sent)" = $((answers + put_before)) ]
check "later questions were dropped and counted, and nothing else happened to any" \
    [ "$(count received)" = $(($(count sent) + $(count dropped))) ]
finish
