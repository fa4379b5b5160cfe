"""Numbers before the packets, as Postbox's ``NumberedSerializer`` has them, around JSON; and what
the servers make of a client's questions.

A datagram is the version, 1; the number, 8 bytes in big-endian order, 0 for what answers no
question; and the JSON. A packet is the number and the document.

How an echo is answered is said by the first word of its text:

===========  ======================================================================================
``lost``     not when it is asked the first time
``twice``    two times
``held``     when HELD of them are there, and then in the opposite order
``pushed``   after a packet that answers no question, and one of a number that nobody has used
(others)     once
===========  ======================================================================================
"""

from __future__ import annotations

import json
from typing import Any

from easynetwork.exceptions import DatagramProtocolParseError, DeserializeError
from easynetwork.lowlevel.request_handler import RecvParams
from easynetwork.serializers.abc import AbstractPacketSerializer
from easynetwork.servers.handlers import AsyncDatagramClient, AsyncDatagramRequestHandler

VERSION = b"\x01"
HELD = 20


def wrap(number: int, packet: Any) -> bytes:
    return VERSION + number.to_bytes(8, "big") + json.dumps(packet).encode()


def unwrap(datagram: bytes) -> tuple[int, Any]:
    if datagram[:1] != VERSION or len(datagram) < 9:
        raise ValueError(f"{datagram[:9]!r} is no number of version 1")
    return int.from_bytes(datagram[1:9], "big"), json.loads(datagram[9:])


class NumberedSerializer(AbstractPacketSerializer[Any, Any]):
    """The same for EasyNetwork."""

    def serialize(self, packet: tuple[int, Any]) -> bytes:
        return wrap(*packet)

    def deserialize(self, data: bytes) -> tuple[int, Any]:
        try:
            return unwrap(data)
        except ValueError as error:
            raise DeserializeError(str(error)) from error


class Answers:
    """What a server says to its questions."""

    def __init__(self) -> None:
        self._lost: set[int] = set()
        self._held: dict[int, Any] = {}

    def of(self, number: int, ask: Any) -> list[tuple[int, Any]]:
        text = ask["text"]
        answer = number, {"reply": "echo", "text": text}
        match text.split(" ")[0]:
            case "lost" if number not in self._lost:
                self._lost.add(number)
                return []
            case "twice":
                return [answer, answer]
            case "held":
                self._held[number] = answer
                if len(self._held) < HELD:
                    return []
                held = list(self._held.values())
                self._held.clear()
                return held[::-1]
            case "pushed":
                return [(0, {"reply": "go on"}), (number ^ 1, {"reply": "garbled"}), answer]
        return [answer]


class NumberedHandler(AsyncDatagramRequestHandler[Any, Any]):
    """EasyNetwork's way to say it."""

    def __init__(self) -> None:
        self._answers = Answers()

    async def handle(self, client: AsyncDatagramClient[Any]):  # an asynchronous generator
        try:
            number, ask = yield RecvParams()
        except DatagramProtocolParseError:
            return
        for answer in self._answers.of(number, ask):
            await client.send_packet(answer)
