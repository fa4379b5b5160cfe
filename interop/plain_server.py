"""A server of plain sockets and Python's ``msgpack`` or ``protobuf``, for clients of Postbox to
talk to.

    plain_server.py FORMAT ADDRESS...        (as in ``easynetwork_server.py``)
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

from numbered import Answers, unwrap, wrap
from wire import FORMATS, GARBAGE, Unreadable


class Server:
    """One socket, served by one thread."""

    def __init__(self, address: str, codec: Any) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        self.socket = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        )
        self.socket.bind((host, int(port)))
        self._codec = codec
        # Who is in a conversation: until when, and how long each wait may last.
        self._conversations: dict[Any, tuple[float, float]] = {}

    def address(self) -> str:
        host, port, *_ = self.socket.getsockname()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def serve(self) -> None:
        while True:
            now = time.monotonic()
            for peer, (deadline, _) in list(self._conversations.items()):
                if deadline <= now:
                    del self._conversations[peer]
                    self._send({"reply": "timed out"}, peer)
            deadlines = [deadline for deadline, _ in self._conversations.values()]
            self.socket.settimeout(max(0.001, min(deadlines) - now) if deadlines else None)
            try:
                datagram, peer = self.socket.recvfrom(65536)
            except TimeoutError:
                continue
            self._answer(datagram, peer)

    def _send(self, packet: Any, peer: Any) -> None:
        self.socket.sendto(
            packet if isinstance(packet, bytes) else self._codec.encode(packet), peer
        )

    def _answer(self, datagram: bytes, peer: Any) -> None:
        try:
            ask = self._codec.decode(datagram)
        except Unreadable as error:
            self._refuse(str(error), peer)
            return
        if peer in self._conversations:
            if (
                isinstance(ask, dict)
                and ask.get("op") == "echo"
                and isinstance(ask.get("text"), str)
            ):
                del self._conversations[peer]
                self._send({"reply": "heard", "text": ask["text"]}, peer)
            else:
                self._refuse("a conversation goes on with an echo", peer)
            return
        match ask:
            case {"op": "echo", "text": str(text)}:
                self._send({"reply": "echo", "text": text}, peer)
            case {"op": "half", "number": int(number) | float(number)} if math.isfinite(number):
                self._send({"reply": "half", "number": number / 2}, peer)
            case {"op": "garble"}:
                self._send(GARBAGE, peer)
                self._send({"reply": "garbled"}, peer)
            case {"op": "conversation", "timeout_ms": int(timeout_ms)} if timeout_ms >= 0:
                self._send({"reply": "go on"}, peer)
                timeout = timeout_ms / 1000
                self._conversations[peer] = (time.monotonic() + timeout, timeout)
            case _:
                self._refuse("not a valid request", peer)

    def _refuse(self, reason: str, peer: Any) -> None:
        self._send({"error": "bad request", "reason": reason}, peer)
        if peer in self._conversations:
            _, timeout = self._conversations[peer]
            self._conversations[peer] = (time.monotonic() + timeout, timeout)


class NumberedServer(Server):
    """One that answers what ``numbered.py`` says."""

    def __init__(self, address: str) -> None:
        super().__init__(address, None)
        self._answers = Answers()

    def _answer(self, datagram: bytes, peer: Any) -> None:
        with contextlib.suppress(ValueError):
            for number, answer in self._answers.of(*unwrap(datagram)):
                self._send(wrap(number, answer), peer)


def server_of(format_name: str, address: str) -> Server:
    if format_name == "numbered":
        return NumberedServer(address)
    return Server(address, FORMATS[format_name].server())


def main(format_name: str, addresses: list[str]) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def wait_for_end_of_input() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        stop.set()

    servers = [server_of(format_name, address) for address in addresses]
    for server in servers:
        threading.Thread(target=server.serve, daemon=True).start()
        print("listening on", server.address(), flush=True)
    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
    print("ready", flush=True)
    stop.wait()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
