"""Values of every kind, as Python's msgpack writes them and in every form there is."""

from __future__ import annotations

import random
import struct
from typing import Any

import msgpack
from record import double, generate, integer, nearest_single, single, string

from common import Ext, Map, Moment, Single, text


def extension(rng: random.Random) -> Ext:
    kind = rng.choice([-128, -2, 0, 1, 127, rng.randrange(128)])
    return Ext(kind, rng.randbytes(rng.choice([0, 1, 2, 3, 4, 8, 12, 16, 17, 255, 256])))


def moment(rng: random.Random) -> Moment:
    seconds = rng.choice(
        [0, 1, -1, (1 << 32) - 1, 1 << 32, (1 << 34) - 1, 1 << 34, integer(rng, "i64")]
    )
    return Moment(seconds, rng.choice([0, 0, 1, 999_999_999, rng.randrange(1_000_000_000)]))


def scalar(rng: random.Random, kind: str) -> Any:
    match kind:
        case "timestamp":
            return moment(rng)
        case "extension":
            return extension(rng)
    return generate(rng, kind, False)


def tree(rng: random.Random, depth: int, singles: bool) -> Any:
    """Any value. Python writes all floats in one width, so a tree has but one."""
    match rng.randrange(12 if depth else 9):
        case 0:
            return rng.choice([None, True, False])
        case 1 | 2:
            return integer(rng, rng.choice(["i64", "u64", "u8", "i32"]))
        case 3 | 4:
            return single(rng, False) if singles else double(rng, False)
        case 5:
            return string(rng, rng.choice([3, 40, 300]))
        case 6:
            return rng.randbytes(rng.choice([0, 1, 31, 32, 255, 256, 300]))
        case 7:
            return extension(rng)
        case 8:
            return moment(rng)
        case 9 | 10:
            return [tree(rng, depth - 1, singles) for _ in range(rng.choice([0, 1, 2, 3, 16]))]
        case _:
            pairs = range(rng.choice([0, 1, 2, 3, 16]))
            return Map(
                (tree(rng, rng.randrange(2), singles), tree(rng, depth - 1, singles)) for _ in pairs
            )


class Pairs(dict):
    """A map for msgpack's packer, whose keys can be anything."""

    def __init__(self, pairs: Map) -> None:
        super().__init__()
        self._pairs = [(packable(key), packable(value)) for key, value in pairs]

    def __len__(self) -> int:
        return len(self._pairs)

    def items(self) -> Any:
        return self._pairs


def packable(node: Any) -> Any:
    match node:
        case Single():
            return node.double()
        case Ext(-1, data):
            return msgpack.Timestamp.from_bytes(data)
        case Ext(kind, data):
            # Its constructor refuses the kinds below 0, which belong to MessagePack.
            return tuple.__new__(msgpack.ExtType, (kind, data))
        case Moment(seconds, nanos):
            return msgpack.Timestamp(seconds, nanos)
        case Map():
            return Pairs(node)
        case list():
            return [packable(part) for part in node]
    return node


def sendable(node: Any) -> Any:
    """The node as our program takes it: moments are extensions, and the pairs of maps in the order
    of their words.
    """
    match node:
        case Moment(seconds, nanos):
            return Ext(-1, msgpack.Timestamp(seconds, nanos).to_bytes())
        case Map():
            pairs = ((sendable(key), sendable(value)) for key, value in node)
            return Map(sorted(pairs, key=lambda pair: f"{text(pair[0])} {text(pair[1])}"))
        case list():
            return [sendable(part) for part in node]
    return node


def head(rng: random.Random, size: int, short: tuple[int, int] | None, *longer: int) -> bytes:
    """The marker and the length of something, in any form that can say it: with 1, 2 or 4 bytes."""
    forms = [bytes([short[0] | size])] if short and size < short[1] else []
    widths = [1, 2, 4][-len(longer) :]
    forms += [
        bytes([marker]) + size.to_bytes(width, "big")
        for marker, width in zip(longer, widths, strict=True)
        if size < 1 << 8 * width
    ]
    return rng.choice(forms)


def wild(rng: random.Random, node: Any) -> bytes:
    """A value with integers, floats and lengths in every form that MessagePack has."""
    match node:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if node else b"\xc2"
        case Single():
            return (
                b"\xca" + node.bits.to_bytes(4, "big")
                if rng.random() < 0.7
                else b"\xcb" + struct.pack(">d", node.double())
            )
        case Ext(kind, data):
            fixed = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}
            if len(data) in fixed and rng.random() < 0.5:
                return bytes([fixed[len(data)], kind & 0xFF]) + data
            return head(rng, len(data), None, 0xC7, 0xC8, 0xC9) + bytes([kind & 0xFF]) + data
        case Moment():
            return wild(rng, sendable(node))
        case int():
            forms = [bytes([node & 0xFF])] if -32 <= node < 128 else []
            for power in range(4):
                bits = 8 << power
                if 0 <= node < 1 << bits:
                    forms.append(bytes([0xCC + power]) + node.to_bytes(bits // 8, "big"))
                if -(1 << bits - 1) <= node < 1 << bits - 1:
                    forms.append(
                        bytes([0xD0 + power]) + node.to_bytes(bits // 8, "big", signed=True)
                    )
            return rng.choice(forms)
        case float():
            short = nearest_single(node)
            if rng.random() < 0.5 and text(short.double()) == text(node):
                return b"\xca" + short.bits.to_bytes(4, "big")
            return b"\xcb" + struct.pack(">d", node)
        case str():
            data = node.encode()
            return head(rng, len(data), (0xA0, 32), 0xD9, 0xDA, 0xDB) + data
        case bytes():
            # Those that are wide integers have but one form: see the deviations.
            return (
                b"\xc4\x10" if len(node) == 16 else head(rng, len(node), None, 0xC4, 0xC5, 0xC6)
            ) + node
        case Map():
            parts = b"".join(wild(rng, part) for pair in node for part in pair)
            return head(rng, len(node), (0x80, 16), 0xDE, 0xDF) + parts
        case list():
            return head(rng, len(node), (0x90, 16), 0xDC, 0xDD) + b"".join(
                wild(rng, part) for part in node
            )
    raise TypeError(node)
