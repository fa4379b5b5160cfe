#!/usr/bin/env bash
# The server, asked by dig and dnsperf, and stopped under load.
#
#     protocols/dns/check.sh            # one line for each check
#     protocols/dns/check.sh measure    # how many questions a second
. "$(dirname "$0")/../check-lib.sh"

need dig bind9-dnsutils
need dnsperf dnsperf

# ask ARGUMENT...: what dig says, without what is different each time.
ask() { dig -p "$port" +time=2 +tries=1 +nocookie +notcp "$@" >"$work/dig" 2>&1 || true; }

cat >"$work/queries" <<'END'
www.example.test A
www.example.test AAAA
second.example.test A
example.test MX
nowhere.example.test A
END

if [ "${1:-}" = measure ]; then
    build --release
    serve example.zone 127.0.0.1:0
    dnsperf -s 127.0.0.1 -p "$port" -d "$work/queries" -l 5 -c 20 -q 200 |
        grep -E 'Queries (sent|lost|per)|Latency'
    stop
    finish
    exit
fi

build
serve example.zone 127.0.0.1:0 '[::1]:0'
port4=$port
port6=${addresses[1]##*:}

ask @127.0.0.1 www.example.test A
says "an address" '^www\.example\.test\..*IN\sA\s192\.0\.2\.80$' "$work/dig"
says "with authority" 'flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0,' "$work/dig"
says_not "nothing that dig warns of but that there is no recursion" \
    'WARNING: [^r]|Got bad packet|[Mm]ismatch|malformed' "$work/dig"
ask @127.0.0.1 nowhere.example.test A
says "no such name" 'status: NXDOMAIN' "$work/dig"
says "with the SOA record" '^example\.test\.\s+60\sIN\sSOA\sns\.example\.test\.' "$work/dig"
ask @127.0.0.1 mail.example.test AAAA
says "no such type" 'status: NOERROR' "$work/dig"
says "with the SOA record" '^example\.test\.\s+60\sIN\sSOA\sns\.example\.test\.' "$work/dig"
ask @127.0.0.1 second.example.test AAAA
says "an alias" '^alias\.example\.test\..*IN\sCNAME\swww\.example\.test\.' "$work/dig"
says "and what it stands for" '^www\.example\.test\..*IN\sAAAA\s2001:db8::80$' "$work/dig"
ask @127.0.0.1 www.example.test ANY
says "ANY: one type" 'ANSWER: 2,' "$work/dig"
ask @127.0.0.1 example.com A
says "another zone" 'status: REFUSED' "$work/dig"
ask @127.0.0.1 version.bind CH TXT
says "another class" 'status: REFUSED' "$work/dig"
ask @127.0.0.1 +opcode=UPDATE www.example.test
says "another operation" 'status: NOTIMP' "$work/dig"
ask @127.0.0.1 +edns=1 +noednsneg www.example.test
says "another version of EDNS" 'status: BADVERS' "$work/dig"
ask @127.0.0.1 +header-only
says "no question at all" 'status: FORMERR' "$work/dig"
ask @127.0.0.1 +ignore +noedns forty.example.test
says "too long for a client without EDNS" 'flags: qr aa tc rd; QUERY: 1, ANSWER: 0,' "$work/dig"
ask @127.0.0.1 +bufsize=1232 forty.example.test
says "not too long with it" 'flags: qr aa rd; QUERY: 1, ANSWER: 40,' "$work/dig"
ask @127.0.0.1 +ignore +bufsize=4096 eighty.example.test
says "too long for the network" 'flags: qr aa tc rd;' "$work/dig"

port=$port6
ask @::1 www.example.test AAAA
says "over IPv6" '^www\.example\.test\..*IN\sAAAA\s2001:db8::80$' "$work/dig"
port=$port4

dnsperf -s 127.0.0.1 -p "$port" -d "$work/queries" -l 2 -c 20 -Q 5000 >"$work/dnsperf"
says "dnsperf: no question is lost" 'Queries completed: .*\(100\.00%\)' "$work/dnsperf"
says "four of five names are there" 'NOERROR [0-9]+ \((80\.|79\.9)' "$work/dnsperf"
stop
check "every datagram has its answer" [ "$(count received)" = "$(count sent)" ]
check "none was malformed" [ "$(count malformed)" = 0 ]

# dig takes no answer that does not come from the address that it asked.
serve example.zone 0.0.0.0:0
for address in 127.0.0.1 127.0.0.2 127.99.0.1; do
    ask "@$address" www.example.test
    says "a wildcard bind, asked at $address" "SERVER: $address#$port" "$work/dig"
    says_not "and heard from nowhere else" 'reply from unexpected source' "$work/dig"
done
stop

# SIGTERM under load: what was asked before is answered. dnsperf asks from its ports in turn, so no
# two answers go to one port together.
serve example.zone 127.0.0.1:0
capture
dnsperf -s 127.0.0.1 -p "$port" -d "$work/queries" -l 3 -c 20 -Q 5000 -t 1 >"$work/dnsperf" 2>&1 &
load=$!
started+=("$load")
loaded
stop
wait "$load" || true
end_capture 0 2
check "there was load" [ "$answers" -gt 500 ]
check "every question of 10 ms before SIGTERM is answered" [ "$unanswered" = 0 ]
check "what the server has sent is what was seen" [ "$(count sent)" = "$answers" ]
check "what was not answered was dropped, and counted" \
    [ "$(count received)" = $(($(count sent) + $(count dropped))) ]
finish
