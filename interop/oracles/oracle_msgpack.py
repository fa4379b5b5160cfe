"""Python's ``msgpack`` and our MessagePack codec, each reading what the other wrote.

    python oracle_msgpack.py PROGRAM [SEED]

PROGRAM is interop_oracle. As in ``oracle_json.py``: Python reads, ``msgpack_types.py`` says what
our types make of it, and our program has to answer the same.
"""

from __future__ import annotations

import random
import re
import struct
import sys
from collections.abc import Iterator
from typing import Any

import msgpack
from msgpack import fallback
from msgpack_edges import EDGES, RECORD_EDGES
from msgpack_forms import extension, moment, packable, sendable, tree, wild
from msgpack_types import document, moment_of, read_as
from record import RECORD, generate

from common import (
    DAMAGED,
    VALUES,
    Deviations,
    Disagreement,
    Ext,
    Map,
    Moment,
    Refused,
    Report,
    Words,
)
from common import attempt, damage, text, widened

DEVIATIONS = Deviations(
    {
        "depth": (
            "more than 127 arrays and maps within one another are refused; Python goes on to 1023"
        ),
        "timestamps that are none": (
            "untyped, an extension of kind -1 is its bytes, which need not be a moment; read as a "
            "Timestamp it is refused, as Python does"
        ),
        "bytes beyond a tuple": (
            "a byte string that a type reads as a tuple may be longer, which an array may not"
        ),
        "negative u128": (
            "a negative integer that a type reads as a u128 is the i128 with these bits"
        ),
        "names by number": "serde takes the number of a field or a variant for its name",
        "signalling NaNs": (
            "Python's floats have 64 bits, and one of 32 bits is made quiet on its way there; we "
            "keep its bits"
        ),
        "long forms of wide integers": (
            "16 bytes that a type reads as an i128 or a u128 have to have the shortest head"
        ),
    }
)

SCHEMAS = {"value": "any", "record": RECORD, "compact": RECORD}
TYPED = {"record", "compact", "f32"}  # these have two widths of floats
SCALARS = ["u64", "i64", "f32", "f64", "text", "timestamp", "extension"]
ALPHABET = (
    bytes(range(0xC0, 0xE0)) + b"\x00\x01\x80\x81\x90\x91\x92\x9f\xa0\xa1\xff\x7f\xe0\xc4\xc7\xd6"
)

OPTIONS: dict[str, Any] = {
    "raw": False,
    "strict_map_key": False,
    "object_pairs_hook": Map,
    "ext_hook": Ext,
}


class AnyTimestamp:
    """Stands for ``Timestamp`` where an extension of kind -1 may be anything."""

    @staticmethod
    def from_bytes(data: bytes) -> Ext:
        return Ext(-1, data)


def decode(datagram: bytes) -> Any:
    try:
        return msgpack.unpackb(datagram, **OPTIONS)
    except (ValueError, msgpack.UnpackException) as error:
        raise Refused(f"{type(error).__name__} {error}") from None


def decode_any_timestamp(datagram: bytes) -> Any:
    """The same by msgpack's decoder in Python, with timestamps that are none left as they are."""
    unpacker = fallback.Unpacker(None, max_buffer_size=max(1, len(datagram)), **OPTIONS)
    unpacker.feed(datagram)
    fallback.Timestamp, kept = AnyTimestamp, fallback.Timestamp
    try:
        value = unpacker._unpack()
        if unpacker._got_extradata():
            raise Refused("bytes left over")
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise Refused(f"{type(error).__name__} {error}") from None
    finally:
        fallback.Timestamp = kept
    return value


def plain(value: Any) -> Any:
    """What Python has read, as a node."""
    match value:
        case msgpack.Timestamp():
            return Moment(value.seconds, value.nanoseconds)
        case Ext(-1, data):
            try:
                return moment_of(data)
            except (ValueError, struct.error):
                return value
        case Map():
            return Map((plain(key), plain(part)) for key, part in value)
        case list():
            return [plain(part) for part in value]
    return value


def theirs(kind: str, datagram: bytes) -> str:
    schema = SCHEMAS.get(kind, kind)
    try:
        read = plain(decode(datagram))
    except Refused:
        read = plain(decode_any_timestamp(datagram))
        if not has_bad_timestamp(read):
            raise
        DEVIATIONS.allow("timestamps that are none")
    return text(read_as(schema, read, DEVIATIONS))


def has_bad_timestamp(value: Any) -> bool:
    match value:
        case Ext(kind):
            return kind == -1
        case Map():
            return any(has_bad_timestamp(one) for pair in value for one in pair)
        case list():
            return any(map(has_bad_timestamp, value))
    return False


def ours(report: Report, kind: str, datagram: bytes) -> str:
    """What our program reads, with Python's one width of floats where there is no type."""
    words = report.ours.read(f"msgpack-{kind}", datagram)
    if kind == "timestamp":
        return "m" + ",".join(part[1:] for part in words.split()[1:])
    return quiet(words) if kind in TYPED else text(plain(node_of(iter(widened(words).split()))))


def quiet(words: str) -> str:
    """The words with the floats of 32 bits as Python can hold them."""

    def mute(match: re.Match[str]) -> str:
        bits = int(match[1], 16)
        if bits & 0x7F800000 == 0x7F800000 and bits & 0x007FFFFF and not bits & 0x00400000:
            DEVIATIONS.allow("signalling NaNs")
            return f"e{bits | 0x00400000:08x}"
        return match[0]

    return re.sub(r"\be([0-9a-f]{8})\b", mute, words)


def node_of(words: Iterator[str]) -> Any:
    """The node that the words say, as far as it matters where extensions are."""
    word = next(words)
    match word[0]:
        case "[":
            return [node_of(words) for _ in range(int(word[1:]))]
        case "{":
            return Map((node_of(words), node_of(words)) for _ in range(int(word[1:])))
        case "x":
            kind, data = word[1:].split(":")
            return Ext(int(kind), bytes.fromhex(data))
    return Words(word)


def compare(report: Report, kind: str, datagram: bytes) -> bool:
    expected, answer = attempt(theirs, kind, datagram), attempt(ours, report, kind, datagram)
    if isinstance(expected, Refused) and isinstance(answer, Refused):
        return False
    if expected == answer:
        return True
    long_form = b"\xc5\x00\x10" in datagram or b"\xc6\x00\x00\x00\x10" in datagram
    if long_form and isinstance(answer, Refused) and kind in ("record", "compact"):
        DEVIATIONS.allow("long forms of wide integers")
        return False
    raise Disagreement(
        f"{kind} {datagram.hex()} is {expected!r} for Python, {answer!r} for Postbox"
    )


def generated(rng: random.Random, kind: str) -> tuple[Any, Any]:
    """A value, and the MessagePack that says it."""
    match kind:
        case "value":
            node = tree(rng, 3, rng.random() < 0.5)
        case "timestamp":
            node = moment(rng)
        case "extension":
            node = extension(rng)
        case _:
            node = generate(rng, SCHEMAS.get(kind, kind), False)
    return node, document(SCHEMAS.get(kind, kind), node, kind == "compact")


def both_read(report: Report, kind: str, datagram: bytes, words: str) -> None:
    for name, answer in (
        ("Python", attempt(theirs, kind, datagram)),
        ("Postbox", attempt(ours, report, kind, datagram)),
    ):
        if answer != words:
            raise Disagreement(f"{name} reads {kind} {datagram.hex()} as {answer!r}, not {words}")


def any_values(report: Report):
    def check(rng: random.Random) -> str:
        for count in range(VALUES):
            singles = count % 2 == 0  # Python writes all floats in one width
            node = sendable(tree(rng, 3, singles))
            python = msgpack.packb(packable(node), use_bin_type=True, use_single_float=singles)
            postbox = report.ours.write("msgpack-value", node)
            if postbox != python:
                raise Disagreement(f"Postbox writes {postbox.hex()}, Python {python.hex()}")
            words = text(plain(node_of(iter(widened(text(node)).split()))))
            for datagram in (python, wild(rng, node)):
                both_read(report, "value", datagram, words)
        return f"{VALUES} values, written in the same bytes by both, and in other forms"

    return check


def typed_values(report: Report, kind: str, count: int):
    def check(rng: random.Random) -> str:
        for _ in range(count):
            node, value = generated(rng, kind)
            sent = list(node) if isinstance(node, Moment) else node
            postbox = report.ours.write(f"msgpack-{kind}", sent)
            python = msgpack.packb(packable(value), use_bin_type=True)
            for datagram in (postbox, python, wild(rng, value)):
                both_read(report, kind, datagram, text(node))
        return f"{count} values written by Postbox, {2 * count} by Python and in other forms"

    return check


def damaged(report: Report, kinds: list[str]):
    def check(rng: random.Random) -> str:
        taken = 0
        for _ in range(DAMAGED):
            kind = rng.choice(kinds)
            both = [wild(rng, generated(rng, kind)[1]) for _ in range(2)]
            taken += compare(report, kind, damage(rng, *both, ALPHABET))
        return f"{DAMAGED} damaged, {taken} of them valid for both"

    return check


def chosen(report: Report):
    def check(rng: random.Random) -> str:
        cases = list(EDGES)
        node = generate(rng, RECORD, False)
        value = document(RECORD, node, False)
        for name, part in RECORD_EDGES:
            parts = [packed(key) + (part if key == name else packed(one)) for key, one in value]
            if name not in dict(value):
                parts.append(packed(name) + part)
            cases.append(("record", b"\xde" + len(parts).to_bytes(2, "big") + b"".join(parts)))
        for name, _ in value:
            cases.append(("record", packed(Map(pair for pair in value if pair[0] != name))))
        array = [part for _, part in value]
        cases += [("record", packed(array)), ("compact", packed(value))]
        cases += [
            ("compact", packed(array[:-1])),
            ("compact", packed([*array, None])),
            ("compact", packed([])),
        ]
        taken = sum(compare(report, kind, datagram) for kind, datagram in cases)
        return f"{len(cases)} chosen encodings, {taken} of them valid for both"

    return check


def packed(value: Any) -> bytes:
    return msgpack.packb(packable(value), use_bin_type=True)


def main() -> None:
    sys.setrecursionlimit(20_000)
    report = Report("MessagePack", DEVIATIONS)
    report.run("any value", any_values(report))
    report.run("typed values as maps", typed_values(report, "record", VALUES))
    report.run("typed values as arrays", typed_values(report, "compact", VALUES))
    for kind in SCALARS:
        report.run(f"{kind} alone", typed_values(report, kind, VALUES // 4))
    report.run("chosen encodings", chosen(report))
    report.run("any value, damaged", damaged(report, ["value"]))
    report.run("typed values, damaged", damaged(report, ["record", "compact"]))
    report.run("numbers, texts and extensions alone, damaged", damaged(report, SCALARS))
    report.end()


main()
