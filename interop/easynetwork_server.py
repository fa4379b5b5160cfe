"""A server built with EasyNetwork, for clients of Postbox to talk to.

    easynetwork_server.py FORMAT ADDRESS...        (each HOST:PORT or [HOST]:PORT; port 0 picks one)

FORMAT is one of ``wire.py``, or ``numbered``, for what ``numbered.py`` says.

Prints ``listening on ADDRESS`` for each address in the order given, then ``ready``. Ends when its
standard input is closed, and on SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from easynetwork.converter import AbstractPacketConverter
from easynetwork.exceptions import DatagramProtocolParseError, PacketConversionError
from easynetwork.lowlevel.request_handler import RecvParams
from easynetwork.protocol import DatagramProtocol
from easynetwork.servers import AsyncUDPNetworkServer
from easynetwork.servers.handlers import AsyncDatagramClient, AsyncDatagramRequestHandler

from numbered import NumberedHandler, NumberedSerializer
from wire import FORMATS, GARBAGE, OrBytes


@dataclass
class Echo:
    text: str


@dataclass
class Half:
    number: float


@dataclass
class Conversation:
    timeout_ms: int


@dataclass
class Garble:
    pass


Ask = Echo | Half | Conversation | Garble


class AskConverter(AbstractPacketConverter[Any, Any]):
    """From a document to an ``Ask``; answers are documents already."""

    def create_from_dto_packet(self, packet: Any, /) -> Ask:
        match packet:
            case {"op": "echo", "text": str(text)}:
                return Echo(text)
            case {"op": "half", "number": int(number) | float(number)} if math.isfinite(number):
                return Half(number)
            case {"op": "conversation", "timeout_ms": int(timeout_ms)} if timeout_ms >= 0:
                return Conversation(timeout_ms)
            case {"op": "garble"}:
                return Garble()
        raise PacketConversionError("a document, but not a valid request")

    def convert_to_dto_packet(self, obj: Any, /) -> Any:
        return obj


def bad_request(reason: object) -> dict[str, str]:
    return {"error": "bad request", "reason": str(reason)}


class Handler(AsyncDatagramRequestHandler[Any, Any]):
    async def handle(
        self, client: AsyncDatagramClient[Any]
    ) -> AsyncGenerator[RecvParams | None, Any]:
        try:
            ask = yield None
        except DatagramProtocolParseError as error:
            await client.send_packet(bad_request(error))
            return
        match ask:
            case Echo(text):
                await client.send_packet({"reply": "echo", "text": text})
            case Half(number):
                await client.send_packet({"reply": "half", "number": number / 2})
            case Garble():
                await client.send_packet(GARBAGE)
                await client.send_packet({"reply": "garbled"})
            case Conversation(timeout_ms):
                await client.send_packet({"reply": "go on"})
                while True:
                    try:
                        more = yield RecvParams(timeout=timeout_ms / 1000)
                    except DatagramProtocolParseError as error:
                        await client.send_packet(bad_request(error))
                    except TimeoutError:
                        await client.send_packet({"reply": "timed out"})
                        return
                    else:
                        if isinstance(more, Echo):
                            await client.send_packet({"reply": "heard", "text": more.text})
                            return
                        await client.send_packet(bad_request("a conversation goes on with an echo"))


def parse_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def print_address(host: str, port: int) -> None:
    print("listening on", f"[{host}]:{port}" if ":" in host else f"{host}:{port}", flush=True)


async def main(format_name: str, addresses: list[str]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    def wait_for_end_of_input() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()

    if format_name == "numbered":
        protocol, handler = DatagramProtocol(NumberedSerializer()), NumberedHandler()
    else:
        serializer = OrBytes(FORMATS[format_name].easynetwork)
        protocol, handler = DatagramProtocol(serializer, AskConverter()), Handler()
    async with contextlib.AsyncExitStack() as stack:
        servers = []
        for host, port in map(parse_address, addresses):
            server = AsyncUDPNetworkServer(host, port, protocol, handler, "asyncio")
            servers.append(await stack.enter_async_context(server))
            for address in server.get_addresses():
                print_address(address.host, address.port)
        async with asyncio.TaskGroup() as serving:
            for server in servers:
                is_up = asyncio.Event()
                serving.create_task(server.serve_forever(is_up_event=is_up))
                await is_up.wait()
            print("ready", flush=True)
            await stop.wait()
            for server in servers:
                await server.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
