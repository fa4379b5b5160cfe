#!/usr/bin/env bash
# The server beside others, in turn: hickory-dns, NSD and Knot, each with one worker on one
# processor, and dnsperf on the other.
#
#     protocols/dns/compare.sh            # the table of docs/performance/dns.md; some three minutes
#     protocols/dns/compare.sh --short    # whether this works: one round, and without hickory-dns
#
# hickory-dns is compiled once, which takes minutes, with the profile of the workspace here. The
# packages of NSD and Knot, if they have to be installed, may start services of theirs.
. "$(dirname "$0")/../check-lib.sh"

rounds=9
seconds=3
servers=(Postbox hickory-dns NSD Knot)
if [ "${1:-}" = --short ]; then
    rounds=1
    seconds=1
    servers=(Postbox NSD Knot)
fi
hickory=0.26.3

if [ "$(nproc)" -lt 2 ]; then
    echo "skipped  $name: it needs two processors"
    exit
fi
need dig bind9-dnsutils
need dnsperf dnsperf
need nsd nsd
need knotd knot
need python3 python3

# What is asked: seven names that are there, with an alias of an alias and one without such a type,
# and one that is not.
cat >"$work/queries" <<'END'
www.example.test A
www.example.test AAAA
ns.example.test A
second.example.test A
ldap.services.example.test A
mail.example.test AAAA
mail.example.test A
nowhere.example.test A
END
cp example.zone "$work/zone"

# Each server of $servers is started by a function; `ports` and `processes` tell where it is.
declare -A ports processes versions
stop_all() {
    kill -TERM "${processes[@]}" && wait "${processes[@]}"
} 2>/dev/null
trap 'stop_all || true; leave' EXIT
start() { # SERVER PORT COMMAND...
    ports[$1]=$2
    taskset -c 0 "${@:3}" >"$work/$1.log" 2>&1 &
    processes[$1]=$!
    started+=("$!")
}

Postbox() {
    # Its log is a line at the end, its counts.
    start "$1" "$2" "$program" "$work/zone" "127.0.0.1:$2"
    versions[$1]=
}

hickory-dns() {
    local root=$target/hickory
    if ! "$root/bin/hickory-dns" --version 2>/dev/null | grep -q " $hickory\$"; then
        CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
            cargo install --quiet --force --locked --root "$root" --target-dir "$root/build" \
            --no-default-features --version "$hickory" hickory-dns
        rm -r "$root/build"
    fi
    cat >"$work/hickory.toml" <<END
listen_addrs_ipv4 = ["127.0.0.1"]
directory = "$work"
user = "$(id -un)"
group = "$(id -gn)"
[[zones]]
zone = "example.test"
zone_type = "Primary"
file = "zone"
END
    start "$1" "$2" "$root/bin/hickory-dns" --quiet --workers 1 --disable-tcp --port "$2" \
        --config "$work/hickory.toml" --zonedir "$work"
    versions[$1]=" $hickory"
}

NSD() {
    # Its limit of answers to one network is off, and what it sends unasked.
    cat >"$work/nsd.conf" <<END
server:
    server-count: 1
    ip-address: 127.0.0.1@$2
    username: ""
    chroot: ""
    database: ""
    zonesdir: "$work"
    pidfile: "$work/nsd.pid"
    xfrdfile: "$work/xfrd.state"
    xfrdir: "$work"
    zonelistfile: "$work/zone.list"
    cookie-secret-file: "$work/nsd_cookies"
    verbosity: 0
    rrl-ratelimit: 0
    minimal-responses: yes
remote-control:
    control-enable: no
zone:
    name: example.test
    zonefile: zone
END
    start "$1" "$2" nsd -d -c "$work/nsd.conf"
    versions[$1]=" $(nsd -v 2>&1 | sed -n 's/^NSD version //p')"
}

Knot() {
    mkdir "$work/knot"
    cat >"$work/knot.conf" <<END
server:
    listen: 127.0.0.1@$2
    rundir: "$work/knot"
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: error
database:
    storage: "$work/knot"
zone:
  - domain: example.test
    file: "$work/zone"
    zonefile-sync: -1
    journal-content: none
END
    start "$1" "$2" knotd -c "$work/knot.conf"
    versions[$1]=" $(knotd --version | grep -oE '[0-9.]+$')"
}

# answers SERVER: what dig says of each query, in no order. A SOA record that says that something is
# not there has its own time in hickory-dns, and the shorter one of RFC 2308 elsewhere.
answers() {
    local query
    while read -ra query; do
        echo "${query[*]}"
        dig @127.0.0.1 -p "${ports[$1]}" +nocookie +noall +comments +answer +authority \
            "${query[@]}" |
            sed -nE 's/.*(status: [A-Z]*).*/\1/p; s/.*flags: ([a-z ]*); QUERY.*/\1/p; /^[^;]/p' |
            sed -E 's/\s+/ /g; s/ [0-9]+ IN SOA/ IN SOA/' | sort
    done <"$work/queries"
}

# cpu PROCESS: user and system time, in clock ticks, of it and of its children and theirs.
cpu() {
    local pid fields total
    read -ra fields < <(sed 's/.*) //' "/proc/$1/stat")
    total=$((fields[11] + fields[12]))
    for pid in $(pgrep -P "$1"); do total=$((total + $(cpu "$pid"))); done
    echo "$total"
}

# measure SERVER SECONDS: writes queries a second, those lost, the server's microseconds a query,
# and the shares of the server and of dnsperf of their processors.
measure() {
    local begin end
    local TIMEFORMAT='%U %S %R'
    begin=$(cpu "${processes[$1]}")
    { time taskset -c 1 dnsperf -s 127.0.0.1 -p "${ports[$1]}" -d "$work/queries" -e -l "$2" \
        -c 20 -q 200 -T 1 -t 1 >"$work/dnsperf" 2>&1; } 2>"$work/time"
    end=$(cpu "${processes[$1]}")
    awk -v server="$1" -v ticks=$((end - begin)) -v hertz="$(getconf CLK_TCK)" '
        FNR == NR { self = $1 + $2; next }
        /Queries completed:/ { completed = $3 }
        /Queries lost:/ { lost = $3 }
        /Run time/ { seconds = $4 }
        /Queries per second:/ { rate = $4 }
        END {
            cpu = ticks / hertz
            print server, rate, lost, completed ? 1e6 * cpu / completed : 0, cpu / seconds,
                self / seconds
        }' "$work/time" "$work/dnsperf"
}

# table: of what `measure` has written.
table() {
    local server
    echo "| server | queries/s | min..max | ratio | min..max | CPU µs | min..max | ratio | min..max | a core | server | dnsperf | lost |"
    echo "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for server in "${servers[@]}"; do
        awk -v server="$server" -v label="$server${versions[$server]}" '
            function sort(a, n, i, j, t) {
                for (i = 2; i <= n; i++)
                    for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
            }
            function cells(a, n, form) {
                sort(a, n)
                printf form " | " form ".." form " | ", a[int((n + 1) / 2)], a[1], a[n]
            }
            $1 == "Postbox" { rate[++ours] = $2 / 1e3; cpu[ours] = $4 }
            $1 == server {
                n++; r[n] = $2 / 1e3; c[n] = $4; busy[n] = $5; asking[n] = $6; lost += $3
                of_rate[n] = rate[n] / r[n]; of_cpu[n] = c[n] ? cpu[n] / c[n] : 0
            }
            END {
                printf "| %s | ", label
                cells(r, n, "%.1fk"); cells(of_rate, n, "%.2f")
                cells(c, n, "%.2f"); cells(of_cpu, n, "%.2f")
                sort(busy, n); sort(asking, n); n = int((n + 1) / 2)
                printf "%.0fk | ", c[n] ? 1e3 / c[n] : 0
                printf "%.0f %% | %.0f %% | %d |\n", 100 * busy[n], 100 * asking[n], lost
            }' "$work/measured"
    done
}

if [ "$rounds" = 1 ]; then build; else build --release; fi
for server in "${servers[@]}"; do
    "$server" "$server" "$(free_port)"
done
for server in "${servers[@]}"; do
    for turn in $(seq 100); do
        ! dig @127.0.0.1 -p "${ports[$server]}" +tries=1 +time=1 example.test SOA |
            grep -q 'status: NOERROR' || break
        sleep 0.1
    done
    [ "$turn" -lt 100 ] || cat "$work/$server.log"
    answers "$server" >"$work/answers.$server"
    check "$server answers as Postbox does" \
        diff "$work/answers.Postbox" "$work/answers.$server" >&2
done >&2

load=$(cut -d ' ' -f 1 /proc/loadavg)
for server in "${servers[@]}"; do measure "$server" 1 >"$work/warm-up"; done
for _ in $(seq "$rounds"); do
    for server in "${servers[@]}"; do measure "$server" "$seconds"; done
done >"$work/measured"

if [ "$rounds" = 1 ]; then
    for server in "${servers[@]}"; do
        check "$server answers dnsperf" \
            awk -v server="$server" '$1 == server { found = $2 > 0 } END { exit !found }' \
            "$work/measured"
    done
    finish
    exit
fi
cat <<END
On $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors, Linux \
$(uname -r | sed 's/[-+].*//'), dnsperf $(dnsperf -h 2>&1 | sed -n 's/.*Version //p'); load average \
at the start $load. Command: \`protocols/dns/compare.sh\`

END
table
[ "$failed" = 0 ]
