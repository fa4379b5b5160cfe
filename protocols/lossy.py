"""A network between clients and a server on this host, which loses datagrams.

    lossy.py SEED LOSS DELAY_MS SERVER_PORT

Prints its port, then `answered N` when the server has answered another client, and at SIGTERM how
many datagrams it has lost. Each client gets a port of its own towards the server. Which of its
datagrams are lost depends on the seed, on the number of the client, and on nothing else.
"""

import heapq
import random
import selectors
import signal
import socket
import sys
import time

seed, loss, server = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[4])
delay = float(sys.argv[3]) / 1000
selector = selectors.DefaultSelector()
front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
front.bind(("127.0.0.1", 0))
selector.register(front, selectors.EVENT_READ, None)
print(front.getsockname()[1], flush=True)

flows = {}  # of each client: its socket, and what decides, for each way
answered = set()  # clients
under_way = []  # when, a number, and what to do then
counts = {"lost": 0, "passed": 0}


def end(*_):
    print(f"lost {counts['lost']}, passed {counts['passed']}", flush=True)
    sys.exit()


signal.signal(signal.SIGTERM, end)


def carry(chance, send, *datagram):
    if chance.random() < loss:
        counts["lost"] += 1
        return
    counts["passed"] += 1
    heapq.heappush(under_way, (time.monotonic() + delay, counts["passed"], send, datagram))


while True:
    wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
    for key, _ in selector.select(wait):
        try:
            datagram, source = key.fileobj.recvfrom(65535)
        except ConnectionRefusedError:  # the server has ended
            continue
        if key.data is not None:
            client, chance = key.data
            if client not in answered:
                answered.add(client)
                print("answered", len(answered), flush=True)
            carry(chance, front.sendto, datagram, client)
            continue
        if source not in flows:
            back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            back.connect(("127.0.0.1", server))
            ways = [random.Random(f"{seed} {len(flows)} {way}") for way in ("there", "back")]
            flows[source] = back, ways[0]
            selector.register(back, selectors.EVENT_READ, (source, ways[1]))
        back, chance = flows[source]
        carry(chance, back.send, datagram)
    while under_way and under_way[0][0] <= time.monotonic():
        _, _, send, datagram = heapq.heappop(under_way)
        try:
            send(*datagram)
        except ConnectionRefusedError:
            pass
