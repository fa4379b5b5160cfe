"""A plain socket that asks a server of Postbox questions with numbers (see ``numbered.py``).

    numbered_client.py LABEL COMMAND...

Starts the server with COMMAND as ``easynetwork_client.py`` does, and prints the same lines. To an
echo the server adds in which run of its handler it answers: ``hello (run 3)``. A conversation is
answered when its time is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator

from easynetwork_client import QUIET, Report, expect
from numbered import unwrap, wrap
from server_process import Server
from talkers import ANSWER_LIMIT

QUESTIONS = 200


class Talk:
    """A socket, and the numbers that it has used."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(server.address("ipv4"))
        self._number = 2**63

    def question(self, text: str) -> tuple[int, bytes]:
        self._number += 1
        return self._number, wrap(self._number, {"op": "echo", "text": text})

    def wait(self, timeout_ms: int) -> tuple[int, bytes]:
        self._number += 1
        packet = {"op": "conversation", "timeout_ms": timeout_ms}
        return self._number, wrap(self._number, packet)

    def send(self, datagram: bytes) -> None:
        self._socket.send(datagram)

    def recv(self, limit: float = ANSWER_LIMIT) -> bytes:
        self._socket.settimeout(limit)
        return self._socket.recv(65536)

    def expect_silence(self) -> None:
        with contextlib.suppress(TimeoutError):
            raise AssertionError(f"one answer too many: {self.recv(QUIET)!r}")

    def run(self) -> int:
        """In which run of the handler a new question is answered."""
        number, datagram = self.question("which")
        self.send(datagram)
        answered, packet = unwrap(self.recv())
        expect(answered, number, "the number")
        return int(packet["text"].removeprefix("which (run ").removesuffix(")"))

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def talk(server: Server) -> Iterator[Talk]:
    talk = Talk(server)
    try:
        yield talk
    finally:
        talk.close()


def each_question_is_answered_with_its_number(talk: Talk) -> None:
    questions = dict(talk.question(f"question {index}") for index in range(QUESTIONS))
    texts = {number: unwrap(datagram)[1]["text"] for number, datagram in questions.items()}
    for datagram in questions.values():
        talk.send(datagram)
    while texts:
        number, packet = unwrap(talk.recv())
        expect(packet["text"].rpartition(" (run ")[0], texts.pop(number))
    talk.expect_silence()


def a_repeated_question_gets_the_same_answer_and_one_run(talk: Talk) -> None:
    first = talk.run()
    _, datagram = talk.question("hello")
    talk.send(datagram)
    answer = talk.recv()
    expect(unwrap(answer)[1], {"reply": "echo", "text": f"hello (run {first + 1})"})
    for _ in range(5):
        talk.send(datagram)
        expect(talk.recv(), answer)
    talk.expect_silence()
    expect(talk.run(), first + 2, "the next run")


def a_question_repeated_while_it_is_handled_is_answered_once(talk: Talk) -> None:
    first = talk.run()
    number, datagram = talk.wait(500)
    for _ in range(5):
        talk.send(datagram)
    answer = talk.recv()
    expect(unwrap(answer), (number, {"reply": "go on"}))
    talk.expect_silence()
    talk.send(datagram)
    expect(talk.recv(), answer)
    expect(talk.run(), first + 2, "the next run")


def what_has_no_number_of_this_version_is_dropped(talk: Talk) -> None:
    _, datagram = talk.question("hello")
    for malformed in (b"\x02" + datagram[1:], datagram[:8], b"", datagram[9:], datagram[:-1]):
        talk.send(malformed)
    talk.expect_silence()
    talk.run()


CHECKS = [
    each_question_is_answered_with_its_number,
    a_repeated_question_gets_the_same_answer_and_one_run,
    a_question_repeated_while_it_is_handled_is_answered_once,
    what_has_no_number_of_this_version_is_dropped,
]


async def main(label: str, command: list[str]) -> int:
    report = Report(label)
    server = Server(command, ["ipv4"])
    try:
        await asyncio.to_thread(server.start)
        for check in CHECKS:

            def checked() -> None:
                with talk(server) as client:
                    check(client)

            await report.run(check.__name__, lambda: asyncio.to_thread(checked))

        async def the_server_ends_cleanly_on_sigterm() -> None:
            expect(await asyncio.to_thread(server.stop_by_signal), 0, "the server's exit status")

        await report.run("the_server_ends_cleanly_on_sigterm", the_server_ends_cleanly_on_sigterm)
    finally:
        server.kill()
    return 1 if report.failed else 0


if __name__ == "__main__":
    status = asyncio.run(main(sys.argv[1], sys.argv[2:]))
    sys.stdout.flush()
    os._exit(status)  # a thread that still waits for an answer must not hold the end
