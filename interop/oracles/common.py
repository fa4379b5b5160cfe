"""What the oracles share: nodes, our program, damage, and the report.

A node is what a packet says, in words that no codec has a part in;
``src/bin/interop_oracle/node.rs`` has the table. In Python it is what one would take for it,
with ``Single``, ``Ext`` and ``Map`` beside.
"""

from __future__ import annotations

import random
import re
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SEED = 1
VALUES = 4000
DAMAGED = 4000


class Refused(Exception):
    """Says that a datagram is none, or is of another type."""


class Single(NamedTuple):
    """A float of 32 bits."""

    bits: int

    def double(self) -> float:
        return struct.unpack(">f", struct.pack(">I", self.bits))[0]


class Ext(NamedTuple):
    """An extension of MessagePack."""

    kind: int
    data: bytes


class Moment(NamedTuple):
    """A timestamp of MessagePack."""

    seconds: int
    nanos: int


class Words(str):
    """The words of a node already."""


class Map(list):
    """The pairs of a map, in any order, equal keys and all."""


def double_bits(number: float) -> int:
    return struct.unpack(">Q", struct.pack(">d", number))[0]


def text(node: Any) -> str:
    """The words of a node."""
    match node:
        case None:
            return "n"
        case True:
            return "t"
        case False:
            return "f"
        case Single(bits):
            return f"e{bits:08x}"
        case Ext(kind, data):
            return f"x{kind}:{data.hex()}"
        case Moment(seconds, nanos):
            return f"m{seconds},{nanos}"
        case Words():
            return node
        case int():
            return f"i{node}"
        case float():
            return f"d{double_bits(node):016x}"
        case str():
            return "s" + node.encode().hex()
        case bytes():
            return "b" + node.hex()
        case Map():
            return " ".join(
                [f"{{{len(node)}", *sorted(f"{text(key)} {text(value)}" for key, value in node)]
            )
        case list() | tuple():
            return " ".join([f"[{len(node)}", *map(text, node)])
    raise TypeError(f"no node: {node!r}")


def widened(words: str) -> str:
    """The words with every float of 32 bits as the float of 64 bits that it equals."""

    def widen(match: re.Match[str]) -> str:
        return text(Single(int(match[1], 16)).double())

    return re.sub(r"\be([0-9a-f]{8})\b", widen, words)


class Ours:
    """Our program, which writes and reads for us."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, verb: str, what: str, rest: str) -> str:
        """The answer, or ``refused WHY``."""
        self._process.stdin.write(f"{verb} {what} {rest}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"FAILED  oracle: our program ended at: {verb} {what} {rest[:2000]}")
        return answer.strip()

    def write(self, what: str, node: Any) -> bytes:
        answer = self.ask("write", what, text(node))
        if answer.startswith("refused"):
            raise Refused(answer)
        return bytes.fromhex(answer)

    def read(self, what: str, datagram: bytes) -> str:
        """The words of what the datagram says."""
        answer = self.ask("read", what, datagram.hex())
        if answer.startswith("refused"):
            raise Refused(answer)
        return answer

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def damage(rng: random.Random, datagram: bytes, other: bytes, alphabet: bytes) -> bytes:
    """The datagram cut short, with bytes flipped, put in, taken out, doubled, or spliced to
    another.
    """
    broken = bytearray(datagram)
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
        at = rng.randrange(len(broken) + 1)
        to = min(len(broken), at + rng.choice([1, 1, 2, 3, 9]))
        match rng.randrange(9):
            case 0:
                del broken[at:]
            case 1 | 2 if at < len(broken):
                broken[at] ^= 1 << rng.randrange(8)
            case 3 if at < len(broken):
                broken[at] = rng.randrange(256)
            case 4 if at < len(broken):
                broken[at] = rng.choice(alphabet)
            case 5:
                broken[at:at] = bytes(rng.choice(alphabet) for _ in range(rng.choice([1, 1, 2, 4])))
            case 6:
                del broken[at:to]
            case 7:
                broken[at:at] = broken[at:to]
            case _:
                broken[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(broken)


class Disagreement(Exception):
    """Ends a check: the sides disagree, and no deviation that is known says why."""


class Deviations:
    """The ways in which the sides may differ, each with the reason; which of them were seen."""

    def __init__(self, reasons: dict[str, str]) -> None:
        self.reasons = reasons
        self.seen: Counter[str] = Counter()
        self.now: Counter[str] = Counter()

    def allow(self, name: str) -> None:
        if name not in self.reasons:
            raise KeyError(name)
        self.seen[name] += 1
        self.now[name] += 1

    def unseen(self) -> list[str]:
        return [name for name in self.reasons if not self.seen[name]]


def attempt(read: Callable[..., Any], *arguments: Any) -> Any:
    """What is read, or the refusal as a value of its own."""
    try:
        return read(*arguments)
    except Refused as refusal:
        return refusal


class Report:
    """Runs checks, and prints one line for each."""

    def __init__(self, format_name: str, deviations: Deviations) -> None:
        self.seed = int(sys.argv[2]) if len(sys.argv) > 2 else SEED
        self.ours = Ours(sys.argv[1])
        self.failed = False
        self._format = format_name
        self._deviations = deviations

    def run(self, name: str, check: Callable[[random.Random], str]) -> None:
        label = f"oracle: {self._format}, {name}"
        self._deviations.now.clear()
        try:
            figures = check(random.Random(f"{self.seed} {self._format} {name}"))
        except Disagreement as reason:
            self.failed = True
            print(f"FAILED  {label} (seed {self.seed}): {reason}", flush=True)
            return
        seen = ", ".join(f"{count} {name}" for name, count in sorted(self._deviations.now.items()))
        print(
            f"ok      {label} (seed {self.seed}): {figures}; deviations: {seen or 'none'}",
            flush=True,
        )

    def end(self) -> None:
        self.ours.close()
        stale = self._deviations.unseen()
        # Another seed may miss one.
        if stale and self.seed == SEED and not self.failed:
            print(
                f"FAILED  oracle: {self._format}: deviations that never occur: {', '.join(stale)}"
            )
            self.failed = True
        written = documented(self._format)
        if written != set(self._deviations.reasons):
            print(f"FAILED  oracle: {self._format}: docs/oracles.md has others: {sorted(written)}")
            self.failed = True
        sys.exit(self.failed)


def documented(format_name: str) -> set[str]:
    """The deviations of a format that the page has: the first column of its section's table."""
    page = Path(__file__).parents[2].joinpath("docs", "oracles.md").read_text()
    section = re.search(
        rf"^## {re.escape(format_name)}$(.*?)(?=^## |\Z)",
        page,
        re.MULTILINE | re.DOTALL | re.IGNORECASE,
    )
    rows = re.findall(r"^\| ([a-z0-9][^|]*) \|", section[1] if section else "", re.MULTILINE)
    return set(rows) - {"deviation"}
