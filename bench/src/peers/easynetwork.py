"""An echo server on EasyNetwork, told what to be by its arguments: LOOP CODEC STYLE.

Serves until the standard input is closed. Tells its address on the standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import AsyncGenerator
from typing import Any

from easynetwork.lowlevel.request_handler import RecvParams
from easynetwork.protocol import DatagramProtocol
from easynetwork.serializers import JSONSerializer
from easynetwork.serializers.abc import AbstractPacketSerializer
from easynetwork.servers import AsyncUDPNetworkServer
from easynetwork.servers.handlers import AsyncDatagramClient, AsyncDatagramRequestHandler


class Raw(AbstractPacketSerializer[bytes, bytes]):
    def serialize(self, packet: bytes) -> bytes:
        return packet

    def deserialize(self, data: bytes) -> bytes:
        return data


class Handler(AsyncDatagramRequestHandler[Any, Any]):
    def __init__(self, style: str) -> None:
        self.once = style == "oneshot"

    async def service_init(self, exit_stack: contextlib.AsyncExitStack, server: Any) -> None:
        for sock in server.get_sockets():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            host, port = sock.getsockname()[:2]
            print(f"{host}:{port}", flush=True)

    async def handle(
        self, client: AsyncDatagramClient[Any]
    ) -> AsyncGenerator[RecvParams | None, Any]:
        if self.once:
            request = yield None
            await client.send_packet(request)
            return
        with contextlib.suppress(TimeoutError):
            while True:
                request = yield RecvParams(timeout=30)
                await client.send_packet(request)


async def serve(codec: str, style: str) -> None:
    serializer: Any = Raw() if codec == "raw" else JSONSerializer()
    protocol: DatagramProtocol[Any, Any] = DatagramProtocol(serializer)
    async with AsyncUDPNetworkServer("127.0.0.1", 0, protocol, Handler(style)) as server:
        await server.serve_forever()


def wait_for_the_end() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    loop, codec, style = sys.argv[1:]
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    if loop == "uvloop":
        import uvloop

        uvloop.run(serve(codec, style))
    else:
        asyncio.run(serve(codec, style))


if __name__ == "__main__":
    main()
