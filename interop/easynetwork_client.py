"""EasyNetwork's two UDP clients, and one of plain sockets, checking a server.

    easynetwork_client.py LABEL FORMAT COMMAND...

Starts the server with COMMAND and the addresses to listen on (see ``easynetwork_server.py`` for
what a server prints and how it ends), runs every check with the asyncio client, the synchronous
one, and the one of plain sockets, as far as the format has them (see ``wire.py``), over IPv4 and
IPv6, and prints a line for each: ``ok``, ``FAILED`` or ``skipped``, then LABEL and the check's
name. Ends with 1 if one failed. What is said is in ``wire.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from easynetwork.exceptions import DatagramProtocolParseError, DeserializeError

from server_process import FAMILIES, Server
from talkers import AsyncTalker, PlainTalker, SyncTalker, Talker
from wire import FORMATS, Format, Unreadable

CHECK_LIMIT = 30.0  # seconds: for one check, restarts included
QUIET = 0.3  # seconds: long enough to say that nothing more was sent

TEXTS = [
    "",
    "hello",
    "na\u00efve \u4f60\u597d \U0001f4ee",
    'quote " backslash \\',
    "\x00\x1f\x7f\n\u2028",
    "x" * 40_000,
]

NUMBERS = [0.0, 1.0, -1.5, 0.1, 1 / 3, 2.0**53 - 1, 1e22, 1.7976931348623157e308, 5e-320, 7]


class Peer:
    """One kind of client on one address family, and the server that it talks to."""

    def __init__(self, server: Server, talker: type[Talker], family: str, spoken: Format) -> None:
        self.server = server
        self.spoken = spoken
        self._talker = talker
        self._family = family

    @contextlib.asynccontextmanager
    async def talk(self) -> AsyncIterator[Talker]:
        talker = self._talker(
            self.server.address(self._family), FAMILIES[self._family][0], self.spoken
        )
        await talker.open()
        try:
            yield talker
        finally:
            await talker.close()


def expect(got: Any, wanted: Any, what: str = "the answer") -> None:
    if got != wanted:
        raise AssertionError(f"{what} is {str(got)[:200]!r}, expected {str(wanted)[:200]!r}")


def expect_bad_request(got: Any, what: str) -> None:
    if not (
        isinstance(got, dict)
        and got.get("error") == "bad request"
        and isinstance(got.get("reason"), str)
    ):
        raise AssertionError(
            f"{what} was answered by {str(got)[:200]!r}, expected a bad request with its reason"
        )


async def expect_echo(talk: Talker, text: str) -> None:
    await talk.send({"op": "echo", "text": text})
    expect(await talk.recv(), {"reply": "echo", "text": text})


async def expect_silence(talk: Talker) -> None:
    with contextlib.suppress(TimeoutError):
        raise AssertionError(f"one answer too many: {await talk.recv(QUIET)!r}")


async def a_request_is_answered_once(peer: Peer) -> None:
    async with peer.talk() as talk:
        await expect_echo(talk, "hello")
        await expect_silence(talk)


async def texts_of_all_kinds_and_sizes_come_back_equal(peer: Peer) -> None:
    async with peer.talk() as talk:
        for text in TEXTS:
            await expect_echo(talk, text)


async def numbers_come_back_exact(peer: Peer) -> None:
    async with peer.talk() as talk:
        for number in NUMBERS:
            await talk.send({"op": "half", "number": number})
            expect(await talk.recv(), {"reply": "half", "number": number / 2})


async def malformed_datagrams_are_answered_politely(peer: Peer) -> None:
    async with peer.talk() as talk:
        for what, datagram in peer.spoken.malformed().items():
            await talk.send(datagram)
            expect_bad_request(await talk.recv(), what)
            await expect_echo(talk, "and on it goes")


async def an_empty_datagram_is_answered_politely(peer: Peer) -> None:
    async with peer.talk() as talk:
        await talk.send(b"")
        expect_bad_request(await talk.recv(), "an empty datagram")
        await expect_echo(talk, "and on it goes")


async def requests_sent_at_once_are_answered_in_order(peer: Peer) -> None:
    async with peer.talk() as talk:
        for number in range(20):
            await talk.send({"op": "echo", "text": f"number {number}"})
        for number in range(20):
            expect(await talk.recv(), {"reply": "echo", "text": f"number {number}"})


async def several_clients_at_once_get_their_own_answers(peer: Peer) -> None:
    async def one_client(name: int) -> None:
        async with peer.talk() as talk:
            await talk.send({"op": "conversation", "timeout_ms": 10_000})
            expect(await talk.recv(), {"reply": "go on"})
            everybody_is_in_a_conversation.add(name)
            while len(everybody_is_in_a_conversation) < 20:
                await asyncio.sleep(0.01)
            await talk.send({"op": "echo", "text": f"client {name}"})
            expect(await talk.recv(), {"reply": "heard", "text": f"client {name}"})
            for number in range(10):
                await expect_echo(talk, f"client {name}, request {number}")
            await expect_silence(talk)

    everybody_is_in_a_conversation: set[int] = set()
    async with asyncio.TaskGroup() as clients:
        for name in range(20):
            clients.create_task(one_client(name))


async def a_conversation_in_time_is_heard(peer: Peer) -> None:
    async with peer.talk() as talk:
        await talk.send({"op": "conversation", "timeout_ms": 10_000})
        expect(await talk.recv(), {"reply": "go on"})
        await asyncio.sleep(0.1)
        await talk.send({"op": "echo", "text": "in time"})
        expect(await talk.recv(), {"reply": "heard", "text": "in time"})
        await expect_echo(talk, "a new one")
        await expect_silence(talk)


async def a_conversation_sent_in_one_go_is_heard(peer: Peer) -> None:
    async with peer.talk() as talk:
        await talk.send({"op": "conversation", "timeout_ms": 10_000})
        await talk.send({"op": "echo", "text": "at once"})
        await talk.send({"op": "echo", "text": "a new one"})
        expect(await talk.recv(), {"reply": "go on"})
        expect(await talk.recv(), {"reply": "heard", "text": "at once"})
        expect(await talk.recv(), {"reply": "echo", "text": "a new one"})


async def a_conversation_too_late_is_timed_out(peer: Peer) -> None:
    async with peer.talk() as talk:
        for timeout_ms in (300, 0):
            start = time.monotonic()
            await talk.send({"op": "conversation", "timeout_ms": timeout_ms})
            expect(await talk.recv(), {"reply": "go on"})
            expect(await talk.recv(), {"reply": "timed out"})
            if time.monotonic() - start < timeout_ms / 1000:
                raise AssertionError(f"timed out before its {timeout_ms} ms")
            await expect_echo(talk, "too late, so a request of its own")
            await expect_silence(talk)


async def a_conversation_survives_a_malformed_datagram(peer: Peer) -> None:
    async with peer.talk() as talk:
        await talk.send({"op": "conversation", "timeout_ms": 10_000})
        expect(await talk.recv(), {"reply": "go on"})
        for what, datagram in peer.spoken.malformed().items():
            await talk.send(datagram)
            expect_bad_request(await talk.recv(), what)
        await talk.send({"op": "half", "number": 1})
        expect_bad_request(await talk.recv(), "a request out of place")
        await talk.send({"op": "echo", "text": "still here"})
        expect(await talk.recv(), {"reply": "heard", "text": "still here"})


async def garbage_from_the_server_is_a_parse_error_and_no_more(peer: Peer) -> None:
    async with peer.talk() as talk:
        await talk.send({"op": "garble"})
        try:
            raise AssertionError(f"the garbage was read as {await talk.recv()!r}")
        except DatagramProtocolParseError as error:
            expect(type(error.error), DeserializeError, "the error")
        except Unreadable:
            pass
        expect(await talk.recv(), {"reply": "garbled"})
        await expect_echo(talk, "and on it goes")


async def a_client_goes_on_after_the_server_was_restarted(peer: Peer) -> None:
    async with peer.talk() as talk:
        await expect_echo(talk, "before")
        await talk.send({"op": "conversation", "timeout_ms": 60_000})
        expect(await talk.recv(), {"reply": "go on"})
        try:
            status = await asyncio.to_thread(peer.server.stop_by_end_of_input)
            with contextlib.suppress(OSError):  # nobody listens, and the system may say so
                await talk.send({"op": "echo", "text": "lost"})
                await talk.recv(QUIET)
        finally:
            await asyncio.to_thread(peer.server.start)
        expect(status, 0, "the server's exit status")
        for attempt in range(20):
            # The first attempts may be told, late, that nobody listened. The server has forgotten
            # the
            # conversation, so this echo is a request of its own.
            with contextlib.suppress(OSError, TimeoutError):
                await talk.send({"op": "echo", "text": f"after {attempt}"})
                answer = await talk.recv(0.5)
                expect(answer, {"reply": "echo", "text": f"after {attempt}"})
                break
        else:
            raise AssertionError("never answered again")
        await expect_echo(talk, "as before")


CHECKS: list[Callable[[Peer], Awaitable[None]]] = [
    a_request_is_answered_once,
    texts_of_all_kinds_and_sizes_come_back_equal,
    numbers_come_back_exact,
    malformed_datagrams_are_answered_politely,
    requests_sent_at_once_are_answered_in_order,
    several_clients_at_once_get_their_own_answers,
    a_conversation_in_time_is_heard,
    a_conversation_sent_in_one_go_is_heard,
    a_conversation_too_late_is_timed_out,
    a_conversation_survives_a_malformed_datagram,
    garbage_from_the_server_is_a_parse_error_and_no_more,
    a_client_goes_on_after_the_server_was_restarted,
]

# asyncio sends no empty datagrams in Python 3.11: they do not reach the socket.
UNLESS_ASYNCIO = [an_empty_datagram_is_answered_politely]


class Report:
    """Prints one line per check and remembers whether one failed."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.failed = False

    async def run(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(CHECK_LIMIT):
                await check()
        except Exception as error:
            self.failed = True
            self.line("FAILED", f"{name}: {describe(error)}")
        else:
            self.line("ok", name)

    def line(self, outcome: str, text: str) -> None:
        print(f"{outcome:<8}{self.label}, {text}", flush=True)


def describe(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(describe, error.exceptions))
    return f"{type(error).__name__}: {error}".replace("\n", " ")


def host_has(family: str) -> bool:
    kind, host = FAMILIES[family]
    try:
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


async def main(label: str, format_name: str, command: list[str]) -> int:
    report = Report(label)
    spoken = FORMATS[format_name]
    talkers = []
    if spoken.easynetwork:
        talkers.append(("asyncio", AsyncTalker, CHECKS))
        talkers.append(("synchronous", SyncTalker, CHECKS + UNLESS_ASYNCIO))
    if spoken.plain:
        talkers.append(("plain sockets", PlainTalker, CHECKS + UNLESS_ASYNCIO))
    families = [family for family in FAMILIES if host_has(family)]
    server = Server(command, families)
    try:
        await asyncio.to_thread(server.start)
        for family in FAMILIES:
            for kind, talker, checks in talkers:
                if family not in families:
                    report.line(
                        "skipped", f"{family}, {kind}: this machine has no {FAMILIES[family][1]}"
                    )
                    continue
                peer = Peer(server, talker, family, spoken)
                for check in checks:
                    await report.run(f"{family}, {kind}: {check.__name__}", lambda: check(peer))

        async def the_server_ends_cleanly_on_sigterm() -> None:
            expect(await asyncio.to_thread(server.stop_by_signal), 0, "the server's exit status")

        await report.run("the_server_ends_cleanly_on_sigterm", the_server_ends_cleanly_on_sigterm)
    finally:
        server.kill()
    return 1 if report.failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    status = asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
    sys.stdout.flush()
    os._exit(status)  # a thread that still waits for an answer must not hold the end
