#!/usr/bin/env bash
# The server, told by Python's statsd client, and stopped under load.
#
#     protocols/statsd/check.sh            # one line for each check
#     protocols/statsd/check.sh measure    # how many metrics a second it sums up
. "$(dirname "$0")/../check-lib.sh"

# The system's Python, which has the system's packages.
python=/usr/bin/python3
"$python" -c 'import statsd' 2>/dev/null || need statsd-for-python python3-statsd

# tell ARGUMENT...: a program on its input is given a client named `client`, and the server's port.
tell() {
    "$python" <(
        cat <<END
import random, sys, time
import statsd
port = int(sys.argv[1])
client = statsd.StatsClient("127.0.0.1", port, maxudpsize=512)
END
        cat
    ) "$port" "$@"
}

# sum KIND NAME: what all flushes together say of a counter.
sum() {
    awk -v kind="$1" -v name="$2" '$1 == kind && $2 == name { sum += $3 } END { print sum + 0 }' \
        "$work/server.out"
}

# line TEXT: the output has this line.
line() { grep -qxF "$1" "$work/server.out"; }

# flushed: waits for a flush that begins after now.
flushed() {
    local turn flushes
    flushes=$(grep -c '^flush' "$work/server.out" || true)
    for turn in $(seq 200); do
        [ "$(grep -c '^flush' "$work/server.out" || true)" -lt $((flushes + 2)) ] || return 0
        sleep 0.05
    done
    echo "no flush, turn $turn"
    return 1
}

if [ "${1:-}" = measure ]; then
    build --release
    serve 1 127.0.0.1:0
    for client in 1 2; do
        tell "$client" >"$work/told$client" <<'END' &
end = time.monotonic() + 5
told = 0
while time.monotonic() < end:
    with client.pipeline() as pipe:
        for n in range(24):
            pipe.incr("pages.viewed.%d" % n)
    told += 24
print(told)
END
        telling[client]=$!
        started+=("$!")
    done
    wait "${telling[@]}"
    stop
    told=$(($(cat "$work/told1") + $(cat "$work/told2")))
    summed=$(awk '$1 == "counter" { sum += $3 } END { print sum }' "$work/server.out")
    echo "told $told metrics, $((told / 5)) a second, all that two Python clients send: $summed are summed up"
    finish
    exit
fi

build
serve 0.5 127.0.0.1:0
tell <<'END'
for n in range(1000):
    client.incr("single")
client.decr("single", 250)
with client.pipeline() as pipe: # several metrics a datagram
    for n in range(10000):
        pipe.incr("piped", 1 + n % 3)
random.seed(7)
for n in range(4000):
    client.incr("sampled", rate=0.25)
for time_ms in 320, 10, 30:
    client.timing("query", time_ms)
for user in "ann", "bob", "ann":
    client.set("users", user)
client.gauge("level", 70)
client.gauge("level", 5, delta=True)
client.gauge("level", -15.5, delta=True)
client.gauge("depth", -40) # two lines: it is set to 0 first
END
cat <<<$'bad\ngood:1|c' >"/dev/udp/127.0.0.1/$port"
cat <<<'bad' >"/dev/udp/127.0.0.1/$port"
check "it flushes" flushed
check "a counter, one a datagram" [ "$(sum counter single)" = 750 ]
check "a counter, many a datagram" [ "$(sum counter piped)" = 19999 ]
sampled=$(sum counter sampled)
check "a counter, one in four sent: $sampled of 4,000" [ $((sampled % 4)) = 0 ] # whole messages
check "is about right" [ "$sampled" -gt 3500 -a "$sampled" -lt 4500 ]
check "a timer" line "timer query count 3 lower 10 mean 120 upper 320"
check "a set" line "set users 2"
check "a gauge, changed" line "gauge level 59.5"
check "a gauge below zero" line "gauge depth -40"
check "what stands beside a bad line" [ "$(sum counter good)" = 1 ]
tell <<'END'
client.gauge("level", 1, delta=True)
client.incr("last", 3)
END
stop
check "a gauge goes on from where it was" line "gauge level 60.5"
check "what came last is written at the end" [ "$(sum counter last)" = 3 ]
check "what is no metric was counted" [ "$(count malformed)" = 1 ]
check "beside others too" [ "$(grep -o 'bad_lines [1-9].*' "$work/server.out")" = "bad_lines 1 over_bound 0" ]
check "none was dropped" [ "$(count dropped)$(count kernel_drops)" = 00 ]

# What is no metric, from one client without end.
serve 60 127.0.0.1:0
tell <<'END'
for n in range(3000):
    client.incr("no name")
END
stop
check "each is counted" [ "$(count malformed)" = 3000 ]
check "and fills no log" [ "$(wc -l <"$work/server.log")" -lt 60 ]

# More names than there is room for.
serve 60 127.0.0.1:0
tell <<'END'
with client.pipeline() as pipe:
    for n in range(12000):
        pipe.incr("name.%05d" % n)
END
stop
check "10,000 names are kept" [ "$(grep -c '^counter' "$work/server.out")" = 10000 ]
says "and 2,000 counted" '^flush metrics 10000 bad_lines 0 over_bound 2000$' "$work/server.out"

# SIGTERM under load: what was told before is in the sum. Each datagram has a number of its own.
serve 0.2 127.0.0.1:0
capture
load=()
for client in 1 2 3 4; do
    tell "$client" <<'END' &
for n in range(10000):
    with client.pipeline() as pipe:
        pipe.set("load", "%s%08d" % (sys.argv[2], n))
        pipe.incr("sent")
    time.sleep(0.001)
END
    load+=("$!")
done
started+=("${load[@]}")
loaded
stop
kill "${load[@]}"
wait "${load[@]}" 2>/dev/null || true
end_capture 5 9
sums=$(sum counter sent)
check "there was load" [ "$questions" -gt 500 ]
check "all of 10 ms before SIGTERM ($unanswered) are in the sum" [ "$sums" -ge "$unanswered" ]
check "each once" [ "$(sum set load)" = "$sums" ]
check "what is not in it was dropped, and counted" \
    [ "$(count received)" = $((sums + $(count dropped))) ]
check "neither was lost on the way" [ "$(count kernel_drops)" = 0 ]
finish
