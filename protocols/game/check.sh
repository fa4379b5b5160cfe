#!/usr/bin/env bash
# A full world of players of our own, those that are killed and those that are none, and a stop
# under load.
#
#     protocols/game/check.sh [measure]
#
# `measure` prints how late ticks are with 200 players, what a snapshot costs, and when they arrive.
. "$(dirname "$0")/../check-lib.sh"

need python3 python3

# players NAME NUMBER SECONDS: so many, in the background, until they all have an answer. Sets
# `process`. What they print is in a file of that name.
players() {
    local turn
    : >"$work/$1"
    "$(dirname "$program")/player" "127.0.0.1:$port" "$2" "$3" >"$work/$1" 2>&1 &
    process=$!
    started+=("$process")
    for turn in $(seq 200); do
        grep -q '^in$' "$work/$1" && return
        sleep 0.05
    done
    echo "not all are in, at turn $turn"
}

# saw NAME WORD: the number after it in what players print.
saw() {
    grep -oE "$2 [0-9]+" "$work/$1" | grep -oE '[0-9]+$'
}

cpu() { # of the server, in clock ticks
    sed 's/.*) //' "/proc/$server/stat" | awk '{ print $12 + $13 }'
}

if [ "${1:-}" = measure ]; then
    build --release
    serve 127.0.0.1:0
    players all 200 12
    begin=$(cpu)
    sleep 10
    used=$(($(cpu) - begin))
    wait "$process"
    sed -n '2,$p' "$work/all"
    stop
    awk -v used="$used" -v hertz="$(getconf CLK_TCK)" -v ticks="$(count ticks)" 'BEGIN {
        printf "server: %.1f %% of a processor, %.1f us for each snapshot that is sent\n",
            100 * used / hertz / 10, 1e6 * used / hertz / 10 / (200 * 60) }'
    exit
fi

build
serve 127.0.0.1:0 4
set +e # a client that fails is a check that fails

# One is killed, and the others see it go.
players others 199 10
others=$process
players killed 1 60
check "a full world is let in" test "$(wc -l <"$work/others") $(wc -l <"$work/killed")" = "1 1"
sleep 1
disown "$process" # so that nobody writes that it was killed
kill -KILL "$process"
players refused 3 1
wait "$process"
check "nobody else is" test "$(saw refused refused)" = 3
wait "$others"
check "everybody has a seat" test "$(saw others joined)" = 199
check "everybody sees everybody" test "$(saw others most)" = 200
says "and that one is gone" 'last 199[.][.]199$' "$work/others"
snapshots=$(saw others snapshots)
missed=$(saw others missed)

# Strangers: joins of five hundred addresses, with tokens that are guessed.
python3 - "$port" >"$work/flood" <<'END'
import socket, sys, time
server = ("127.0.0.1", int(sys.argv[1]))
sockets, sent, heard = [], 0, 0
for n in range(500):
    s = socket.socket(type=socket.SOCK_DGRAM)
    s.bind((f"127.77.{n // 250}.{n % 250 + 1}", 0))
    s.setblocking(False)
    sockets.append(s)
def hear():
    total = 0
    for s in sockets:
        try:
            while True:
                total += len(s.recv(2000))
        except BlockingIOError:
            pass
    return total
for guess in range(40):
    for n, s in enumerate(sockets):
        sent += s.sendto(b"\x01" + (guess * 500 + n).to_bytes(8, "big"), server)
    heard += hear()
    time.sleep(0.01)
for _ in range(20):
    time.sleep(0.1)
    heard += hear()
print(f"sent {sent}, heard {heard}")
END
check "strangers do not get more than they send: $(cat "$work/flood")" \
    test "$(saw flood heard)" -gt 0 -a "$(saw flood heard)" -le "$(saw flood sent)"
players after 1 1
wait "$process"
check "and none of them is in the world" test "$(saw after most)" = 1
stop
check "each join is counted, and each end" \
    test "$(count joined) $(count left) $(count silent)" = "201 200 1"
check "and who was refused, however often they asked" test "$(count full)" -ge 3
# A machine that is busy skips some, which is counted.
check "nearly each tick that was comes: $snapshots, without $missed" \
    test "$snapshots" -gt $((199 * 60)) -a \
    "$missed" -le $((199 * $(count skipped) + snapshots / 20))
check "nothing is dropped" test "$(count dropped) $(count unsent)" = "0 0"

# SIGTERM, while everybody plays.
serve 127.0.0.1:0
players all 200 60
all=$process
sleep 1
stop
wait "$all"
check "all players end" test $? = 0
check "all were told" test "$(saw all bye) $(count told) $(count joined)" = "200 200 200"
says_not "nobody was cut" 'deadline has come' "$work/server.log"
finish
