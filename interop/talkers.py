"""The clients that check a server: EasyNetwork's two, and a plain socket."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from easynetwork.clients import AsyncUDPNetworkClient, UDPNetworkClient
from easynetwork.protocol import DatagramProtocol

from wire import Format, OrBytes

ANSWER_LIMIT = 5.0  # seconds: for an answer on the loopback, with both cores busy


class AsyncTalker:
    """The asyncio client."""

    def __init__(self, address: tuple[str, int], family: int, spoken: Format) -> None:
        protocol = DatagramProtocol(OrBytes(spoken.easynetwork))
        self._client = AsyncUDPNetworkClient(address, protocol, "asyncio", family=family)

    async def open(self) -> None:
        await self._client.wait_connected()

    async def send(self, packet: Any) -> None:
        await self._client.send_packet(packet)

    async def recv(self, limit: float = ANSWER_LIMIT) -> Any:
        async with asyncio.timeout(limit):
            return await self._client.recv_packet()

    async def close(self) -> None:
        await self._client.aclose()


class SyncTalker:
    """The synchronous client. It blocks, so each call is made from a thread."""

    def __init__(self, address: tuple[str, int], family: int, spoken: Format) -> None:
        self._client = UDPNetworkClient(
            address, DatagramProtocol(OrBytes(spoken.easynetwork)), family=family
        )

    async def open(self) -> None:
        pass

    async def send(self, packet: Any) -> None:
        await asyncio.to_thread(self._client.send_packet, packet, timeout=ANSWER_LIMIT)

    async def recv(self, limit: float = ANSWER_LIMIT) -> Any:
        return await asyncio.to_thread(self._client.recv_packet, timeout=limit)

    async def close(self) -> None:
        self._client.close()


class PlainTalker:
    """A client without a framework: a socket, and Python's codec."""

    def __init__(self, address: tuple[str, int], family: int, spoken: Format) -> None:
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.connect(address)
        self._socket.setblocking(False)
        self._codec = spoken.client()

    async def open(self) -> None:
        pass

    async def send(self, packet: Any) -> None:
        self._socket.send(packet if isinstance(packet, bytes) else self._codec.encode(packet))

    async def recv(self, limit: float = ANSWER_LIMIT) -> Any:
        async with asyncio.timeout(limit):
            return self._codec.decode(
                await asyncio.get_running_loop().sock_recv(self._socket, 65536)
            )

    async def close(self) -> None:
        self._socket.close()


Talker = AsyncTalker | SyncTalker | PlainTalker
