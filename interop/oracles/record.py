"""The type that ``src/bin/interop_oracle/record.rs`` has, as a schema: what its values are, and
how they look.
"""

from __future__ import annotations

import math
import random
import struct
from typing import Any

from common import Map, Single

INTEGERS = {f"{sign}{bits}": bits for sign in "iu" for bits in (8, 16, 32, 64, 128)}

INNER: list[Any] = ["struct", "Inner", [("name", "text")]]
INNER[2].append(("next", ["option", INNER]))

SHAPE = [
    "enum",
    {
        "Point": None,
        "Circle": "f64",
        "Line": ["tuple", ["i32", "i32"]],
        "Square": ["struct", "Shape", [("side", "u8"), ("label", "text")]],
    },
]

RECORD = [
    "struct",
    "Record",
    [
        ("yes", "bool"),
        ("tiny", "i8"),
        ("short", "i16"),
        ("int", "i32"),
        ("long", "i64"),
        ("byte", "u8"),
        ("word", "u16"),
        ("size", "u32"),
        ("large", "u64"),
        ("huge", "i128"),
        ("vast", "u128"),
        ("single", "f32"),
        ("double", "f64"),
        ("letter", "char"),
        ("text", "text"),
        ("blob", "bytes"),
        ("maybe", ["option", "i32"]),
        ("nothing", "unit"),
        ("doubles", ["list", "f64"]),
        ("singles", ["list", "f32"]),
        ("shapes", ["list", SHAPE]),
        ("named", ["map", "text", "i64"]),
        ("numbered", ["map", "i16", ["option", "bool"]]),
        ("added", ["option", "text"]),
        ("inner", ["option", INNER]),
    ],
]
STRICT = {"Inner"}  # these know no other fields
# What stands for the raw control character 0 in a JSON string, and so on: these are in no text.
CONTROL = 0x10F800

EDGES = [0.0, -0.0, 0.1, 1e22, 1e23, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308]
LETTERS = '"\\/\b\f\n\r\t\x7f\x80\u07ff\u0800\u2028\u2029\ud7ff\ue000\ufeff\ufffd\uffff'
LETTERS += "\U00010000\U0010ffff"


def bounds(kind: str) -> tuple[int, int]:
    bits = INTEGERS[kind]
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if kind[0] == "i" else (0, (1 << bits) - 1)


def integer(rng: random.Random, kind: str) -> int:
    low, high = bounds(kind)
    match rng.randrange(4):
        case 0:
            return rng.choice([low, high, 0, max(low, -1), 1, low + 1, high - 1])
        case 1:
            edge = (1 << rng.randrange(129)) * rng.choice([1, -1]) + rng.randrange(-2, 3)
            return min(high, max(low, edge))
        case 2:
            return rng.randint(low, high)
        case _:
            return rng.randint(max(low, -40), min(high, 200))


def double(rng: random.Random, finite: bool) -> float:
    while True:
        match rng.randrange(6):
            case 0:
                number = rng.choice(EDGES)
            case 1:
                number = float(rng.randrange(-1000, 1000))
            case 2:
                number = rng.uniform(-1000, 1000)
            case 3:
                number = float(integer(rng, "i64"))
            case 4:
                number = rng.choice([math.inf, -math.inf, math.nan, 1.5])
            case _:
                number = struct.unpack(">d", rng.randbytes(8))[0]
        if not finite or math.isfinite(number):
            return number


def single(rng: random.Random, finite: bool) -> Single:
    """A float of 32 bits. A NaN is a quiet one, since Python cannot hold the others."""
    while True:
        match rng.randrange(4):
            case 0:
                bits = rng.choice(
                    [0, 0x80000000, 1, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3DCCCCCD, 0x7F800000]
                )
            case 1:
                bits = struct.unpack(">I", struct.pack(">f", rng.uniform(-1000, 1000)))[0]
            case _:
                bits = rng.getrandbits(32)
        if bits & 0x7F800000 != 0x7F800000:
            return Single(bits)
        if not finite:
            return Single(bits | 0x00400000 if bits & 0x007FFFFF else bits)


def character(rng: random.Random) -> str:
    match rng.randrange(6):
        case 0 | 1:
            return chr(rng.randrange(0x20, 0x7F))
        case 2:
            return chr(rng.randrange(0x20))
        case 3:
            return rng.choice(LETTERS)
        case 4:
            return chr(rng.randrange(0x80, 0xD800))
        case _:
            return chr(rng.randrange(0x10000, CONTROL))


def string(rng: random.Random, longest: int = 12) -> str:
    return "".join(character(rng) for _ in range(rng.randrange(longest + 1)))


def generate(rng: random.Random, schema: Any, finite: bool) -> Any:
    """A value as a node: a struct is the list of its fields."""
    match schema:
        case "bool":
            return rng.random() < 0.5
        case "unit":
            return None
        case "f64":
            return double(rng, finite)
        case "f32":
            return single(rng, finite)
        case "char":
            return character(rng)
        case "text":
            return string(rng)
        case "bytes":
            return rng.randbytes(rng.choice([0, 1, 5, 20, 300]))
        case str():
            return integer(rng, schema)
        case ["option", inner]:
            return None if rng.random() < 0.4 else generate(rng, inner, finite)
        case ["list", inner]:
            return [generate(rng, inner, finite) for _ in range(rng.choice([0, 1, 2, 5, 20]))]
        case ["tuple", kinds]:
            return [generate(rng, kind, finite) for kind in kinds]
        case ["map", key, value]:
            keys = {generate(rng, key, finite) for _ in range(rng.randrange(4))}
            return Map((key, generate(rng, value, finite)) for key in sorted(keys))
        case ["struct", _, fields]:
            return [generate(rng, kind, finite) for _, kind in fields]
        case ["enum", variants]:
            name = rng.choice(list(variants))
            data = variants[name]
            return name if data is None else Map([(name, generate(rng, data, finite))])
    raise TypeError(schema)


def nearest_single(number: float) -> Single:
    try:
        return Single(struct.unpack(">I", struct.pack(">f", number))[0])
    except OverflowError:  # beyond the largest, where it rounds to infinity
        return Single(0xFF800000 if number < 0 else 0x7F800000)
