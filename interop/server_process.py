"""The server process under test."""

from __future__ import annotations

import queue
import signal
import socket
import subprocess
import threading
import time

FAMILIES = {"ipv4": (socket.AF_INET, "127.0.0.1"), "ipv6": (socket.AF_INET6, "::1")}


class Server:
    """A command, and the process that was started with it."""

    def __init__(self, command: list[str], families: list[str]) -> None:
        self.command = command
        self.families = families
        self.addresses = [
            f"[{host}]:0" if ":" in host else f"{host}:0"
            for _, host in map(FAMILIES.__getitem__, families)
        ]
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts it; a second start asks for the ports that the first one was given."""
        self.process = subprocess.Popen(
            [*self.command, *self.addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process, lines), daemon=True).start()
        listening = []
        deadline = time.monotonic() + 10
        while True:
            try:
                line = lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise RuntimeError("the server did not become ready in time") from None
            if line == "ready":
                break
            if not line.startswith("listening on "):
                raise RuntimeError(f"the server said {line!r} before it was ready")
            listening.append(line.removeprefix("listening on "))
        if len(listening) != len(self.addresses):
            raise RuntimeError(f"the server listens on {listening}, asked were {self.addresses}")
        self.addresses = listening

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        for line in process.stdout:
            lines.put(line.strip())
        lines.put("<end of output>")

    def stop_by_end_of_input(self) -> int:
        self.process.stdin.close()
        return self.process.wait(10)

    def stop_by_signal(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def address(self, family: str) -> tuple[str, int]:
        host, _, port = self.addresses[self.families.index(family)].rpartition(":")
        return host.strip("[]"), int(port)
