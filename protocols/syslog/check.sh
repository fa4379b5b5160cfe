#!/usr/bin/env bash
# The server, told by logger, and stopped under load.
#
#     protocols/syslog/check.sh            # one line for each check
#     protocols/syslog/check.sh measure    # how many messages a second it writes
. "$(dirname "$0")/../check-lib.sh"

need logger bsdutils

file=$work/messages

# tell ARGUMENT...: sends a message, or the lines of its input.
tell() { logger --udp --server "${host:-127.0.0.1}" --port "$port" "$@"; }

# lines COUNT: whether the file has so many, within ten seconds.
lines() {
    local turn
    for turn in $(seq 200); do
        [ "$(wc -l <"$file")" -lt "$1" ] || break
        sleep 0.05
    done
    [ "$(wc -l <"$file")" = "$1" ] || ! echo "$(wc -l <"$file") lines after $turn turns"
}

# column NUMBER: that of the file's last line.
column() { tail -n 1 "$file" | cut -f "$1"; }

# in_order: the texts of each client are 1, 2, 3 and so on, none left out, in their order.
in_order() {
    awk -F '\t' '
        $9 + 0 != ++next_of[$1] { print "instead of " next_of[$1] ": " $0; exit failed = 1 }
        END { exit failed }' "$file"
}

if [ "${1:-}" = measure ]; then
    build --release
    serve "$file" 127.0.0.1:0
    seq 1000000 >"$work/numbers"
    begin=$(date +%s%N)
    tell -t load -f "$work/numbers"
    sent=$(date +%s%N)
    stop
    awk -v sending="$((sent - begin))" -v lines="$(wc -l <"$file")" 'BEGIN {
        printf "1,000,000 messages in %.1f s, %d a second, all that one logger sends: %d are in the file\n",
            sending / 1e9, 1e15 / sending, lines }'
    echo "dropped by the kernel: $(count kernel_drops)"
    finish
    exit
fi

build
serve "$file" 127.0.0.1:0 '[::1]:0'
port4=$port
port6=${addresses[1]##*:}

tell --rfc5424 -p local3.warning -t app --id=4711 --msgid ID47 --sd-id 'a@32473' \
    --sd-param 'b="1"' --sd-param 'c="x\"y"' 'It works: yes'
check "a message of RFC 5424" lines 1
check "from whom" [ "$(column 1 | cut -d: -f1)" = 127.0.0.1 ]
check "how urgent" [ "$(column 2)" = local3.warning ]
check "when" grep -qE '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]{15}[-+][0-9]{2}:[0-9]{2}$' <(column 3)
check "by what" [ "$(column 5-6)" = $'app\t4711' ]
check "of which kind" [ "$(column 7)" = ID47 ]
check "with its data" grep -qF '[a@32473 b="1" c="x\"y"]' <(column 8)
check "and its text" [ "$(column 9)" = 'It works: yes' ]
tell --rfc5424=notime,notq,nohost -t app 'nothing but a text'
check "one that leaves out what it can" lines 2
check "has dashes there" [ "$(column 2-9)" = $'user.notice\t-\t-\tapp\t-\t-\t-\tnothing but a text' ]
tell --rfc3164 -p auth.crit -t su "'su root' failed for lonvick"
check "a message of RFC 3164" lines 3
check "when" grep -qE '^[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}$' <(column 3)
check "and the rest" [ "$(column 2).$(column 5).$(column 9)" = "auth.crit.su.'su root' failed for lonvick" ]
host=::1 port=$port6 tell 'over IPv6'
check "over IPv6" lines 4
check "from whom" grep -q '^\[::1\]:' <(column 1)
port=$port4
long=$(printf '%060000d' 7)
tell --size 60010 "$long"
check "60,000 characters" lines 5
check "are whole" [ "$(column 9)" = "$long" ]
tell $'two\nlines'
check "lines of one message" lines 6
check "remain one line" [ "$(column 9)" = 'two#012lines' ]
echo 'no message' >"/dev/udp/127.0.0.1/$port"
stop
check "all were written" [ "$(count written)" = 6 ]
check "what is no message was counted" [ "$(count malformed)" = 1 ]
says "and told" 'no priority' "$work/server.log"

# What is no message, without end: with its length in front, as over TCP.
serve "$file" 127.0.0.1:0
seq 3000 | tell --octet-count
stop
check "each is counted" [ "$(count malformed).$(count written)" = 3000.0 ]
check "and fills no log" [ "$(wc -l <"$work/server.log")" -lt 60 ]

# Thousands of lines at once: no more than the receive buffer holds, where the system grants it.
rm "$file"
serve "$file" 127.0.0.1:0
seq 5000 | tell -t a & burst=("$!")
seq 5000 | tell -t b --rfc3164 & burst+=("$!")
check "two bursts are sent" wait "${burst[@]}"
stop
if [ "$(id -u)" = 0 ] || [ "$(cat /proc/sys/net/core/rmem_max)" -ge $((4 << 20)) ]; then
    check "all of 10,000 lines are in the file" lines 10000
    check "each client's in their order" in_order
else
    check "all of 10,000 lines are in the file, or counted" lines $((10000 - $(count kernel_drops)))
fi

# More than a socket holds, while the server stands still.
rm "$file"
serve "$file" 127.0.0.1:0
kill -STOP "$server"
seq 50000 | tell -t flood
kill -CONT "$server"
stop
check "the kernel has dropped some of a flood" [ "$(count kernel_drops)" -gt 0 ]
check "each of which is counted" [ $(($(count written) + $(count kernel_drops))) = 50000 ]
says "and the log tells it" 'WARN.*dropped by the system' "$work/server.log"

# SIGTERM, while the disk stands still: it is a pipe that nobody reads. What has come is written once
# somebody does, and who comes then is dropped.
rm "$file"
mkfifo "$work/pipe"
exec 9<>"$work/pipe"
serve "$work/pipe" 127.0.0.1:0
seq 10000 | tell -t before
kill -TERM "$server"
for newcomer in $(seq 20); do
    tell -t after "newcomer $newcomer"
    sleep 0.05
done
cat <&9 >"$file" &
reading=$!
started+=("$reading")
stop
check "what had come before is written" lines "$(count written)"
check "of the first all" [ "$(grep -c $'\tbefore\t' "$file")" = 10000 ]
check "newcomers are dropped" [ "$(count dropped)" -gt 0 ]
check "and counted" [ $(($(count written) + $(count dropped))) = 10020 ]
kill "$reading"
rm "$file"

# SIGTERM under load: what was told before is written.
serve "$file" 127.0.0.1:0
capture
# Lines of nine digits, 25 every 10 ms.
numbers() {
    local first
    for ((first = 1; ; first += 25)); do
        seq -f %09.0f "$first" $((first + 24)) || break
        sleep 0.01
    done
}
for client in 1 2 3 4; do
    numbers | exec logger --udp --server 127.0.0.1 --port "$port" --rfc3164 -t "load$client" \
        2>"$work/logger" &
    load[client]=$!
done
started+=("${load[@]}")
loaded
stop
kill "${load[@]}"
wait "${load[@]}" || true
end_capture 0 999
check "there was load" [ "$questions" -gt 500 ]
check "all of 10 ms before SIGTERM ($unanswered) are written" [ "$(count written)" -ge "$unanswered" ]
check "without a gap" in_order
check "what was counted as written is in the file" [ "$(count written)" = "$(wc -l <"$file")" ]
check "what was not written was dropped, and counted" \
    [ "$(count received)" = $(($(count written) + $(count dropped))) ]
check "neither was lost on the way" [ "$(count kernel_drops)" = 0 ]
finish
