# What the check.sh of each server here begins with:
#
#     . "$(dirname "$0")/../check-lib.sh"
#
# It goes to the server's folder, whose name is the package's and the program's. The server prints
# `serving on ADDRESS...` once it is bound, and when it has ended a line of counts, each a word with
# a number after it: `received 12, sent 12, dropped 0`. Everything that was started has ended when
# the script has.
# shellcheck shell=bash disable=SC2034
set -euo pipefail

target=${CARGO_TARGET_DIR:-$(dirname "${BASH_SOURCE[0]}")/../target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
cd "$(dirname "$0")"
name=$(basename "$PWD")
work=$(mktemp -d)
started=() # processes
passed=0
failed=0

leave() {
    local pid
    for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap leave EXIT

# need PROGRAM PACKAGE: installs the Debian package if the program is not there. Who may not is
# told, and the whole check left out.
need() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q >/dev/null && apt-get install -qy --no-install-recommends "$2" >/dev/null
        return
    fi
    echo "skipped  $name: it needs $1, of the package $2"
    exit 0
}

# unpack PROGRAM PACKAGE: for a daemon that the package would start, or that would take another's
# place. It and what it needs that is not here is unpacked beside what was built, not installed.
# Sets `unpacked`, where to; nothing if it was installed before.
unpack() {
    PATH=$PATH:/usr/sbin
    unpacked=
    command -v "$1" >/dev/null && return
    unpacked=$target/unpacked/$2
    if [ ! -e "$unpacked/whole" ]; then
        rm -rf "$unpacked"
        mkdir -p "$unpacked"
        (
            cd "$unpacked" &&
                { [ "$(id -u)" != 0 ] || apt-get update -q; } &&
                apt-get install -s --no-install-recommends "$2" >plan &&
                awk '/^Inst / { print $2 }' plan |
                xargs -r apt-get download -o APT::Sandbox::User=root &&
                find . -name '*.deb' -print0 | xargs -0 -r -I{} dpkg -x {} . &&
                touch whole
        ) >/dev/null 2>&1 || true
    fi
    PATH=$PATH:$unpacked/usr/sbin:$unpacked/usr/bin
    local libraries
    for libraries in "$unpacked"/{,usr/}lib/*-linux-gnu*; do
        [ -d "$libraries" ] || continue
        LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries
    done
    export LD_LIBRARY_PATH
    if [ ! -e "$unpacked/whole" ] || ! command -v "$1" >/dev/null; then
        echo "skipped  $name: it needs $1, of the package $2"
        exit 0
    fi
}

# free_port: for a program that cannot choose one itself.
free_port() {
    python3 -c 'if True:
        import socket
        free = socket.socket(type=socket.SOCK_DGRAM)
        free.bind(("127.0.0.1", 0))
        print(free.getsockname()[1])'
}

# check LABEL COMMAND...: one line; it fails if the command does.
check() {
    local label=$1
    shift
    if "$@"; then
        passed=$((passed + 1)) && echo "ok       $label"
    else
        failed=$((failed + 1)) && echo "FAILED   $label"
    fi
}

# says LABEL PATTERN FILE: the file has a line that the extended regular expression matches.
says() {
    check "$1" grep -qE -e "$2" "$3" || true
    grep -qE -e "$2" "$3" || sed 's/^/    /' "$3"
}

# says_not LABEL PATTERN FILE: it has none.
none() { ! grep -E -e "$1" "$2"; }
says_not() {
    check "$1" none "$2" "$3"
}

# finish: how it went.
finish() {
    echo "$name: $passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# build [--release]: sets `program`.
build() {
    cargo build --quiet --locked --manifest-path ../Cargo.toml --target-dir "$target" \
        -p "$name" "$@"
    program=$target/debug/$name
    [ "${1:-}" != --release ] || program=$target/release/$name
}

# serve ARGUMENT...: starts the server. Sets `server`, its process, `addresses`, and `port`, that of
# the first one.
serve() {
    : >"$work/server.out"
    "$program" "$@" >"$work/server.out" 2>"$work/server.log" &
    server=$!
    started+=("$server")
    local turn
    for turn in $(seq 200); do
        read -ra addresses < <(sed -n 's/^serving on //p' "$work/server.out") || true
        [ "${#addresses[@]}" = 0 ] || break
        kill -0 "$server" || break
        sleep 0.05
    done
    if [ "${#addresses[@]}" = 0 ]; then
        echo "FAILED   $name: it does not serve (turn $turn)"
        cat "$work/server.log"
        exit 1
    fi
    port=${addresses[0]##*:}
}

# stop: SIGTERM, when that was (in seconds, `signalled`), and how the server ended.
stop() {
    signalled=$(date +%s.%N)
    kill -TERM "$server" 2>/dev/null # it may have been told, and have ended
    check "it ends by itself at SIGTERM" ended "$server"
    says_not "nothing in its log is an error" ' ERROR ' "$work/server.log"
    tail -n 1 "$work/server.out"
}

# ended PROCESS: within ten seconds, and well.
ended() {
    timeout 10 tail --pid="$1" -s 0.1 -f /dev/null && wait "$1"
}

# count WORD: the number after it in the server's last line; none where it has none.
count() {
    tail -n 1 "$work/server.out" | grep -oE "$1 [0-9]+" | grep -oE '[0-9]+$' || echo 0
}

# capture: writes down each datagram from or to the server's `port` at 127.0.0.1, and when. For who
# may not do that the script ends here.
no_capture() {
    echo "skipped  $name: it may not capture, so it is not stopped under load"
    stop
    finish
    exit
}
capture() {
    [ "$(id -u)" = 0 ] || no_capture
    need tcpdump tcpdump
    : >"$work/capture.log"
    tcpdump -Z root -i lo -n -U --immediate-mode -B 65536 -w "$work/capture" "udp port $port" \
        2>"$work/capture.log" &
    capturing=$!
    started+=("$capturing")
    until grep -q 'listening on' "$work/capture.log"; do
        kill -0 "$capturing" || no_capture
        sleep 0.05
    done
}

# loaded: waits until there is load, and then half a second.
loaded() {
    local turn
    for turn in $(seq 200); do
        [ "$(stat -c %s "$work/capture")" -lt 50000 ] || break
        sleep 0.05
    done
    sleep 0.5
}

# end_capture OFFSET LENGTH [LENGTH_AT]: these bytes of a datagram (as a DNS message's first two)
# are what a client tells its answers apart by. Sets `questions`, the datagrams to the server;
# `answers`, those from it; and `unanswered`, the questions sent 10 ms or more before `signalled` that have no
# answer. Several answers of one length to one client may leave the server as one, which the kernel
# takes apart later. Where a datagram tells its own length, in the two bytes at LENGTH_AT, that is
# seen; where none does, the load must not be such.
end_capture() {
    kill -INT "$capturing"
    wait "$capturing"
    says "the capture lost nothing" '^0 packets dropped by kernel' "$work/capture.log"
    read -r questions answers unanswered < <(
        tcpdump -r "$work/capture" -n -tt -x 2>/dev/null |
            awk -v port=".$port" -v from="$(($1 * 2 + 1))" -v digits="$(($2 * 2))" \
                -v length_at="${3:-}" -v before="$signalled" '
                function number(hex, i, n) {
                    for (i = 1; i <= length(hex); i++)
                        n = n * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
                    return n
                }
                function seen(datagram, key) {
                    key = client " " substr(datagram, from, digits)
                    if (asked) { questions++; if (!(key in open)) open[key] = at }
                    else { answers++; delete open[key] }
                }
                function done(long) {
                    if (bytes == "") return
                    bytes = substr(bytes, 57) # after 20 bytes of IP header and 8 of UDP
                    while (length_at != "" && bytes != "") {
                        long = 2 * number(substr(bytes, 2 * length_at + 1, 4))
                        if (long < 2 || long >= length(bytes)) break
                        seen(substr(bytes, 1, long))
                        bytes = substr(bytes, long + 1)
                    }
                    seen(bytes)
                    bytes = ""
                }
                /^[0-9]/ {
                    done()
                    at = $1; to = $5; sub(/:$/, "", to)
                    asked = substr(to, length(to) - length(port) + 1) == port
                    client = asked ? $3 : to
                }
                /^\t0x/ { for (i = 2; i <= NF; i++) bytes = bytes $i }
                END {
                    done()
                    for (key in open) if (open[key] + 0.010 <= before + 0) unanswered++
                    print questions + 0, answers + 0, unanswered + 0
                }'
    )
    echo "         $questions questions, $answers answers"
}

# lossy SEED LOSS DELAY: a network before the server, which loses, and delays by milliseconds. Sets
# `port`, and `proxy`, its process, which writes to `$work/proxy.out` whom the server has answered.
lossy() {
    need python3 python3
    : >"$work/proxy.out"
    python3 ../lossy.py "$@" "$port" >"$work/proxy.out" &
    proxy=$!
    started+=("$proxy")
    until grep -q . "$work/proxy.out"; do kill -0 "$proxy" && sleep 0.05; done
    port=$(head -n 1 "$work/proxy.out")
}

# end_lossy: and writes how many were lost.
end_lossy() {
    kill -TERM "$proxy"
    wait "$proxy"
}
