#!/usr/bin/env bash
# Drives the server with tftp-hpa, atftp and curl, through a network that loses, and stops it under
# load.
#
#     protocols/tftp/check.sh [measure]
#
# `measure` prints how long transfers take instead.
. "$(dirname "$0")/../check-lib.sh"

need tftp tftp-hpa
need atftp atftp
need curl curl

files=$work/files
mkdir "$files" "$work/here"
here=$work/here
random() { head -c "$1" /dev/urandom >"$2"; }
same() { cmp -s "$1" "$2"; }
fetch() { curl -sS -m "${seconds:-60}" "tftp://127.0.0.1:$port/$1" -o "$2" "${@:3}"; }

# all PROCESS...: every one ends well.
all() {
    local pid failed=0
    for pid in "$@"; do wait "$pid" || failed=1; done
    return "$failed"
}

if [ "${1:-}" = measure ]; then
    build --release
    serve "$files" 127.0.0.1:0
    random $((32 << 20)) "$files/32MiB"
    fetch_timed() {
        local begin
        begin=$(date +%s%N)
        "${@:2}"
        awk -v label="$1" -v ns=$(($(date +%s%N) - begin)) \
            'BEGIN { printf "%-44s %6.2f s %8.1f MiB/s\n", label, ns / 1e9, 32e9 / ns }'
        same "$files/32MiB" "$here/32MiB"
    }
    fetch_timed "curl, blocks of 512 bytes" fetch 32MiB "$here/32MiB"
    fetch_timed "curl, blocks of 1,428 bytes" fetch 32MiB "$here/32MiB" --tftp-blksize 1428
    fetch_timed "curl, blocks of 65,464 bytes" fetch 32MiB "$here/32MiB" --tftp-blksize 65464
    for window in 1 8 32; do
        rm "$here/32MiB"
        fetch_timed "atftp, 1,428 bytes, windows of $window" atftp --option "blksize 1428" \
            --option "windowsize $window" -g -r 32MiB -l "$here/32MiB" 127.0.0.1 "$port" \
            2>"$work/atftp.log"
    done
    stop
    exit
fi

build
serve "$files" 127.0.0.1:0 30
set +e # a client that fails is a check that fails

# Sizes around that of a block: what is a multiple of it ends with an empty one.
for size in 0 1 511 512 513 100000; do
    random "$size" "$files/$size"
    fetch "$size" "$here/$size"
    check "curl gets $size bytes" same "$files/$size" "$here/$size"
done
fetch 100000 "$here/blocks" --tftp-blksize 1428
check "curl gets blocks of 1,428 bytes" same "$files/100000" "$here/blocks"
fetch 100000 "$here/no-options" --tftp-no-options
check "curl gets without options" same "$files/100000" "$here/no-options"
curl -sS -m 60 -T "$here/100000" "tftp://127.0.0.1:$port/from-curl"
check "curl puts" same "$here/100000" "$files/from-curl"

# One socket: each transfer goes on from the port of the last.
printf '%s\n' "mode octet" "put $here/100000 from-hpa" "get from-hpa $here/hpa" \
    "put $here/513 second" "get second $here/second" "get 512 $here/hpa-512" quit |
    tftp 127.0.0.1 "$port" >"$work/hpa.out" 2>&1
check "tftp-hpa puts" same "$here/100000" "$files/from-hpa"
check "tftp-hpa gets it back from the same port" same "$here/100000" "$here/hpa"
check "tftp-hpa goes on from the same port" same "$here/513" "$here/second"
check "tftp-hpa gets what ends with an empty block" same "$files/512" "$here/hpa-512"
printf 'one\ntwo\n' >"$files/text"
tftp -m netascii 127.0.0.1 "$port" -c get text "$here/text" >"$work/hpa.out" 2>&1
check "tftp-hpa gets text" same "$files/text" "$here/text"

for window in 1 4 16; do
    atftp --option "windowsize $window" --option "tsize 0" --option "timeout 2" \
        --option "blksize 1024" -g -r 100000 -l "$here/window$window" 127.0.0.1 "$port" \
        2>"$work/atftp.log"
    check "atftp gets with windows of $window" same "$files/100000" "$here/window$window"
done
atftp --option "windowsize 4" --option "blksize 700" -p -l "$here/100000" -r from-atftp \
    127.0.0.1 "$port" 2>"$work/atftp.log"
check "atftp puts with windows of 4" same "$here/100000" "$files/from-atftp"
# More blocks than 16 bits count.
random 700000 "$files/700000"
atftp --option "blksize 8" --option "windowsize 64" -g -r 700000 -l "$here/700000" \
    127.0.0.1 "$port" 2>"$work/atftp.log"
check "atftp gets 87,501 blocks" same "$files/700000" "$here/700000"

fetch absent "$here/absent" 2>"$work/error"
says "curl is told of a file that is not there" '^curl: .68.' "$work/error"
fetch ../../../etc/hostname "$here/hostname" --path-as-is 2>"$work/error"
says "curl is told that it may not leave" '^curl: .69.' "$work/error"
curl -sS -m 60 -T "$here/1" "tftp://127.0.0.1:$port/512" 2>"$work/error"
says "curl is told that a file is there already" '^curl: .73.' "$work/error"
check "and it is as before" same "$files/512" "$here/512"

# Twelve at once, where one datagram in twenty is lost.
direct=$port
lossy 20 0.05 0
random 65536 "$files/64KiB"
clients=()
for n in 1 2 3; do
    # It wants to be sent again after 5 seconds, so not too often.
    fetch 64KiB "$here/lossy-curl$n" --tftp-blksize $((2048 * n)) & clients+=($!)
    printf '%s\n' "mode octet" "rexmt 1" "timeout 30" "get 64KiB $here/lossy-hpa$n" quit |
        tftp 127.0.0.1 "$port" >/dev/null 2>&1 & clients+=($!)
    atftp --option "timeout 1" --option "blksize 1024" --option "windowsize $((2 * n))" -g \
        -r 64KiB -l "$here/lossy-atftp$n" 127.0.0.1 "$port" 2>/dev/null & clients+=($!)
    printf '%s\n' "mode octet" "rexmt 1" "timeout 30" "put $files/64KiB lossy-put$n" quit |
        tftp 127.0.0.1 "$port" >/dev/null 2>&1 & clients+=($!)
done
check "twelve transfers at once, where 5 % are lost, end" all "${clients[@]}"
for n in 1 2 3; do
    for file in "$here"/lossy-{curl,hpa,atftp}"$n" "$files/lossy-put$n"; do
        check "${file##*/} is whole" same "$files/64KiB" "$file"
    done
done
end_lossy
says "the network has lost some" '^lost [1-9]' "$work/proxy.out"
port=$direct

# SIGTERM, while transfers go on that take some seconds: 129 blocks, of 20 ms each way.
lossy 1 0 20
clients=()
for n in 1 2 3 4; do fetch 64KiB "$here/late$n" & clients+=($!); done
until [ "$(grep -c '^answered' "$work/proxy.out")" = 4 ]; do sleep 0.05; done
port=$direct
kill -TERM "$server"
seconds=2 fetch 512 "$here/newcomer" 2>"$work/error"
check "those who had begun end" all "${clients[@]}"
for n in 1 2 3 4; do check "late$n is whole" same "$files/64KiB" "$here/late$n"; done
check "who came after SIGTERM got nothing" test ! -s "$here/newcomer"
stop
check "the newcomer is counted" test "$(count newcomers)" -ge 1
says_not "nobody was cut" 'deadline has come' "$work/server.log"
end_lossy

# And with a deadline that is too short.
serve "$files" 127.0.0.1:0 1
direct=$port
lossy 2 0 100
(seconds=4 fetch 64KiB "$here/cut" 2>"$work/error") & client=$!
until grep -q '^answered' "$work/proxy.out"; do sleep 0.05; done
stop
says "who does not end in time is cut" 'deadline has come.* handlers=1' "$work/server.log"
wait "$client"
check "the client is told" grep -q '^curl: (71)' "$work/error"
end_lossy
finish
