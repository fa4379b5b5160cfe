#!/usr/bin/env bash
# The clients, answered by NSD, dnsmasq, FreeRADIUS, libcoap's server and chrony, also through a
# network that loses. Each server has a configuration of its own, on a port of its own.
#
#     protocols/asking/check.sh          # one line for each check
#     protocols/asking/check.sh serve    # the servers, until Ctrl-C, and how to ask them
. "$(dirname "$0")/../check-lib.sh"

need python3 python3
unpack nsd nsd
unpack dnsmasq dnsmasq-base
unpack coap-server-notls libcoap3-bin
unpack chronyd chrony
unpack freeradius freeradius

# Those that run are told to end, so that they take their own processes with them.
daemons=()
end_all() {
    [ "${#daemons[@]}" = 0 ] || { kill -TERM "${daemons[@]}" && wait "${daemons[@]}"; }
} 2>/dev/null
trap 'end_all || true; leave' EXIT

# daemon NAME COMMAND...: starts a server, whose log is its own.
daemon() {
    "${@:2}" >"$work/$1.log" 2>&1 &
    daemons+=("$!")
    started+=("$!")
}

hosts=500
zone() {
    printf '%s\n' "\$TTL 60" "@ SOA ns hostmaster 1 3600 900 604800 60" "@ NS ns" "ns A 10.0.0.0"
    awk -v hosts="$hosts" 'BEGIN {
        for (h = 1; h <= hosts; h++) printf "h%d A 10.0.%d.%d\n", h, h / 256, h % 256
    }'
}

start_NSD() {
    zone >"$work/zone"
    cat >"$work/nsd.conf" <<END
server:
    server-count: 1
    ip-address: 127.0.0.1@$1
    username: ""
    chroot: ""
    database: ""
    zonesdir: "$work"
    pidfile: "$work/nsd.pid"
    xfrdfile: "$work/xfrd.state"
    xfrdir: "$work"
    zonelistfile: "$work/zone.list"
    cookie-secret-file: "$work/nsd_cookies"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: example.test
    zonefile: zone
END
    daemon NSD nsd -d -c "$work/nsd.conf"
}

start_dnsmasq() {
    awk -v hosts="$hosts" 'BEGIN {
        for (h = 1; h <= hosts; h++) printf "10.0.%d.%d h%d.example.test\n", h / 256, h % 256, h
    }' >"$work/hosts"
    daemon dnsmasq dnsmasq -k -C /dev/null -p "$1" --listen-address=127.0.0.1 --bind-interfaces \
        --no-resolv --no-hosts --addn-hosts="$work/hosts" --local=/example.test/ \
        --user="$(id -un)" --pid-file="$work/dnsmasq.pid" --log-facility=-
}

# A user's password is made of the name; the answer says for whom it is.
start_FreeRADIUS() {
    local share=/usr/share/freeradius
    [ -e "$share/dictionary" ] || share=$unpacked$share
    echo "\$INCLUDE $share/dictionary" >"$work/dictionary"
    cat >"$work/radiusd.conf" <<END
name = radiusd
logdir = "$work"
run_dir = "$work"
libdir = "$unpacked/usr/lib/freeradius"
pidfile = "$work/radiusd.pid"
max_requests = 16384
cleanup_delay = 5
log {
    destination = stdout
    auth = no
}
security {
    reject_delay = 0
}
modules {
    pap {
    }
}
client localhost {
    ipaddr = 127.0.0.1
    secret = testing123
    require_message_authenticator = yes
}
server default {
    listen {
        type = auth
        ipaddr = 127.0.0.1
        port = $1
    }
    authorize {
        update control {
            &Cleartext-Password := "password of %{User-Name}"
        }
        pap
    }
    authenticate {
        pap
    }
    post-auth {
        update reply {
            &Reply-Message := "for %{User-Name}"
            &Message-Authenticator := 0x00
        }
        Post-Auth-Type REJECT {
            update reply {
                &Reply-Message := "for %{User-Name}"
                &Message-Authenticator := 0x00
            }
        }
    }
}
END
    # Its libraries of its own are no system's.
    LD_LIBRARY_PATH=$unpacked/usr/lib/freeradius:${LD_LIBRARY_PATH:-} \
        daemon FreeRADIUS freeradius -f -l stdout -d "$work" -D "$work" -n radiusd
}

start_libcoap() {
    daemon libcoap coap-server-notls -d 100000 -A 127.0.0.1 -p "$1" -v 3
}

start_chrony() {
    printf '%s\n' "local stratum 10" "allow 127/8" "bindaddress 127.0.0.1" "port $1" "cmdport 0" \
        "bindcmdaddress /" "pidfile $work/chronyd.pid" >"$work/chrony.conf"
    daemon chrony chronyd -U -u "$(id -un)" -x -d -f "$work/chrony.conf"
}

# ask PROTOCOL QUESTIONS: what the client says of the server at `port`.
ask() {
    timeout 120 "$program" "$1" "127.0.0.1:$port" "$2" >"$work/said" 2>"$work/errors" ||
        head -n 5 "$work/errors"
}
said() { sed -nE "s/.*\\b$1 ([0-9]+).*/\\1/p" "$work/said"; }

# start SERVER PROTOCOL: and waits until it answers.
start() {
    port=$(free_port)
    "start_$1" "$port"
    local turn
    for turn in $(seq 100); do
        ! "$program" "$2" "127.0.0.1:$port" 1 >/dev/null 2>&1 || return 0
        kill -0 "${daemons[-1]}" || break
        sleep 0.1
    done
    echo "FAILED   $name: $1 does not answer (turn $turn)"
    tail -n 20 "$work/$1.log"
    exit 1
}

all_own() { [ "$(said asked)" = "$1" ] && [ "$(said 'own answers')" = "$1" ]; }
some_repeated() { [ "$(said repeated)" -gt 0 ]; }
nothing_else() { [ "$(said 'timed out').$(said late).$(said malformed)" = 0.0.0 ]; }

# answers SERVER PROTOCOL QUESTIONS [ASKED]: each gets its own answer, and with 20 % loss too. A
# burst that is longer than the server's buffer has repetitions without that.
answers() {
    local asked=${4:-$3}
    start "$1" "$2"
    ask "$2" "$3"
    check "$1: each of $asked questions gets its own answer" all_own "$asked"
    check "$1: and nothing else comes ($(said repeated) repeated)" nothing_else
    lossy "${#1}" 0.2 1
    ask "$2" "$3"
    end_lossy
    says "$1: a network loses some: $(tail -n 1 "$work/proxy.out")" '^lost [1-9]' "$work/proxy.out"
    check "$1: and each gets its own answer" all_own "$asked"
    check "$1: as $(said repeated) are repeated" some_repeated
    check "$1: none is given up, and none is late" nothing_else
}

if [ "${1:-}" = serve ]; then
    build
    for server in NSD:dns dnsmasq:dns FreeRADIUS:radius libcoap:coap chrony:ntp; do
        start "${server%:*}" "${server#*:}"
        echo "cargo run -q -p asking -- ${server#*:} 127.0.0.1:$port 300    # ${server%:*}"
    done
    wait
    exit
fi

build
answers NSD dns 500
answers dnsmasq dns 500
answers FreeRADIUS radius 600
answers libcoap coap 300 600
answers chrony ntp 500
end_all || true
finish
