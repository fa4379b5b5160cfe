"""Python's ``json`` and our JSON codec, each reading what the other wrote.

    python oracle_json.py PROGRAM [SEED]

PROGRAM is interop_oracle. Python reads; what our types make of the document is then said by
``json_types.py`` from serde's rules, and our program has to answer the same, node for node.
Damaged documents have to be valid for both or for neither, and if so to say the same. Where the
two differ by design, DEVIATIONS has the reason.
"""

from __future__ import annotations

import json
import random
import re
import sys
from typing import Any

from common import (
    DAMAGED,
    VALUES,
    Deviations,
    Disagreement,
    Map,
    Refused,
    Report,
    attempt,
    damage,
    text,
)
from json_types import Number, document, read_as
from record import CONTROL, RECORD, double, generate, integer, string

DEVIATIONS = Deviations(
    {
        "lone surrogates": (
            "a lone surrogate (\\ud800) is no Unicode, and a Rust string cannot hold it: refused"
        ),
        "surrogates in bytes": (
            "where a type reads bytes from a string, a lone surrogate is read as the three bytes "
            "it would have"
        ),
        "control characters in bytes": (
            "where a type reads bytes from a string, the string may hold raw control characters, "
            "which Python refuses"
        ),
        "floats out of range": "1e400 is infinite for Python; JSON has no infinity: refused",
        "unread surrogates and floats": (
            "in a field that nobody reads, lone surrogates and floats out of range pass"
        ),
        "unread depth": (
            "in a field that nobody reads any depth is taken: no stack and no memory is used for it"
        ),
        "large integers": (
            "Python's integers have no end; untyped, an integer beyond 64 bits is the nearest float"
        ),
        "minus zero": (
            "-0 is the integer 0 for Python and the float -0.0 for us, which no integer type of "
            "up to 64 bits takes"
        ),
        "depth": (
            "more than 127 arrays and objects within one another are refused; Python goes on to "
            "its own limit"
        ),
        "escaped number keys": (
            "a key that a type reads as a number has to be written without escapes"
        ),
    }
)

SCALARS = ["u64", "i64", "u128", "i128", "f32", "f64", "text"]
ALPHABET = b"{}[]\",:\\/-+.0123456789eEtfnu \t\r\nNI\x00\x1f\x7f\x80\xc3\xed\xff'#"

# Documents that damage is unlikely to make, for the type that they concern.
EDGES = [
    ("value", rb'"\ud800"'),
    ("value", rb'["\udc00\ud800"]'),
    ("value", rb'{"\ud83d\u0041": 1}'),
    ("value", rb'"\ud83d\ude00"'),
    ("value", b'"\xed\xa0\x80"'),
    ("value", b'"\xc0\x80"'),
    ("value", b"\xef\xbb\xbf[]"),
    ("value", "[1]".encode("utf-16")),
    ("value", b"1e400"),
    ("value", b"-1e400"),
    ("value", b"1e-400"),
    ("value", b"1.7976931348623158e308"),
    ("value", b"1.7976931348623159e308"),
    ("value", b"1" + b"0" * 400),
    ("value", b"18446744073709551615"),
    ("value", b"18446744073709551616"),
    ("value", b"-9223372036854775808"),
    ("value", b"-9223372036854775809"),
    ("value", b"9007199254740993"),
    ("value", b"[-0, -0.0, 0, 0e9, -0e1]"),
    ("value", b"[NaN]"),
    ("value", b"[Infinity, -Infinity]"),
    ("value", b'{"a": 1, "b": 2, "a": 3}'),
    ("value", b'{"a": 1, "\\u0061": {"x": null}}'),
    ("value", b"[" * 127 + b"]" * 127),
    ("value", b"[" * 128 + b"]" * 128),
    ("value", b'{"":' * 128 + b"0" + b"}" * 128),
    ("value", b""),
    ("value", b" \t\r\n"),
    ("value", b"\x0c1"),
    ("value", "\u00a01".encode()),
    ("value", "\u0661".encode()),
    ("value", b'"\\u00e\xc3\xa9"'),
    ("value", b'"a\x00b"'),
    ("value", b'"a\x7fb"'),
    ("i64", b"-0"),
    ("u64", b"-0"),
    ("i128", b"-0"),
    ("f64", b"-0"),
    ("f32", b"-0"),
    ("i64", b"1.0"),
    ("i64", b"1e2"),
    ("u128", b"340282366920938463463374607431768211455"),
    ("u128", b"340282366920938463463374607431768211456"),
    ("i128", b"-170141183460469231731687303715884105728"),
    ("i128", b"-170141183460469231731687303715884105729"),
    ("f32", b"16777217"),
    ("f32", b"16777217.0000001"),
    ("f32", b"1.00000005960464477540"),
    ("f32", b"1.00000005960464477539"),
    ("f32", b"3.4028235e38"),
    ("f32", b"3.4028236e38"),
    ("f32", b"1e39"),
    ("f32", b"1e-46"),
    ("f64", b"1" + b"0" * 308),
    ("f64", b"9223372036854775809"),
    ("text", rb'"\/\b\f\n\r\t\"\\\u0000"'),
]
# Changes to a record: a part of its document, and what stands there instead.
RECORD_EDGES = [
    ("blob", b'"text \\ud800"'),
    ("blob", b'"a\x01b"'),
    ("blob", '"\u00e9"'.encode()),
    ("blob", b"[256]"),
    ("unknown", b'["\\ud800", 1e400]'),
    ("unknown", b"[" * 200 + b"]" * 200),
    ("unknown", b"[1,]"),
    ("unknown", b'"\x01"'),
    ("yes", b"1"),
    ("tiny", b"128"),
    ("double", b"null"),
    ("letter", b'"ab"'),
    ("letter", b'"\\ud83d\\ude00"'),
    ("nothing", b"[]"),
    ("maybe", b"-0"),
    ("shapes", b'["Point", {"Point": null}, {"Line": [1, 2]}, {"Square": [1, "a"]}]'),
    ("shapes", b'[{"Point": 1}]'),
    ("shapes", b'["Circle"]'),
    ("shapes", b'[{"Circle": 1, "Circle": 2}]'),
    ("shapes", b'[{"Line": [1]}]'),
    ("shapes", b'[{"Line": [1, 2, 3]}]'),
    ("shapes", b'[{"Square": {"side": 1, "label": "", "more": 0}}]'),
    ("named", b'{"a": 1, "a": 2}'),
    ("numbered", b'{"1": true, "-1": null}'),
    ("numbered", b'{"\\u0031": true}'),
    ("numbered", b'{"01": true}'),
    ("numbered", b'{" 1": true}'),
    ("numbered", b'{"32768": true}'),
    ("numbered", b'{"-0": true}'),
    ("inner", b'{"name": "a", "name": "b"}'),
    ("inner", b'{"name": "a", "other": 1}'),
    ("inner", b'["a", {"name": "b"}]'),
    ("inner", b'["a"]'),
    ("inner", b'{"name": "a"}'),
]


def decode(datagram: bytes) -> Any:
    """Python's word on the document; an object is a ``Map``."""

    def no_number(name: str) -> None:
        raise Refused(name)

    try:
        return json.loads(
            datagram.decode("utf-8"),
            parse_constant=no_number,  # Python would take NaN, which is no JSON
            parse_float=Number,
            parse_int=lambda digits: Number(digits) if digits == "-0" else int(digits),
            object_pairs_hook=Map,
        )
    except ValueError as error:
        raise Refused(str(error)) from None


def theirs(kind: str, datagram: bytes) -> str:
    schema = {"value": "any", "record": RECORD}.get(kind, kind)
    try:
        read = decode(datagram)
    except Refused:
        if kind != "record":
            raise
        # Python refuses raw control characters in any string, and we in all but those read as
        # bytes.
        read = decode(re.sub(rb'"(?:[^"\\]|\\.)*"', mark_controls, datagram, flags=re.DOTALL))
    return text(read_as(schema, read, DEVIATIONS, datagram))


def mark_controls(string: re.Match[bytes]) -> bytes:
    return re.sub(rb"[\x00-\x1f]", lambda byte: chr(CONTROL + byte[0][0]).encode(), string[0])


def compare(report: Report, kind: str, datagram: bytes) -> bool:
    """Whether both take the datagram; if they disagree that is the end."""
    expected, answer = (
        attempt(theirs, kind, datagram),
        attempt(report.ours.read, f"json-{kind}", datagram),
    )
    if isinstance(expected, Refused) and isinstance(answer, Refused):
        return False
    if expected == answer:
        return True
    raise Disagreement(f"{kind} {datagram!r} is {expected!r} for Python, {answer!r} for Postbox")


def tree(rng: random.Random, depth: int) -> Any:
    """Any document."""
    match rng.randrange(8 if depth else 6):
        case 0:
            return rng.choice([None, True, False])
        case 1 | 2:
            return integer(rng, rng.choice(["i64", "u64", "u8"]))
        case 3:
            return double(rng, True)
        case 4 | 5:
            return string(rng)
        case 6:
            return [tree(rng, depth - 1) for _ in range(rng.randrange(6))]
        case _:
            keys = {string(rng, 4) for _ in range(rng.randrange(6))}
            return Map((key, tree(rng, depth - 1)) for key in sorted(keys))


def python_writes(rng: random.Random, value: Any) -> bytes:
    """One of Python's forms of the document."""
    written = json.dumps(
        value,
        ensure_ascii=rng.random() < 0.5,
        indent=rng.choice([None, None, 2, "\t"]),
        separators=rng.choice([None, (",", ":"), (" , ", " :\n")]),
        sort_keys=rng.random() < 0.5,
    )
    return written.encode()


def space(rng: random.Random) -> str:
    return rng.choice(["", "", "", " ", "\n", "\t\r "])


def wild_text(rng: random.Random, value: str, escapes: bool) -> str:
    """A string with any of the forms of its characters."""
    short = {
        '"': '\\"',
        "\\": "\\\\",
        "/": "\\/",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
    }
    written = []
    for letter in value:
        if letter in short and rng.random() < 0.5:
            written.append(short[letter])
        elif letter in '"\\' or letter < " " or (escapes and rng.random() < 0.2):
            units = letter.encode("utf-16-be")
            halves = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
            written += ["\\u" + (half.upper() if rng.random() < 0.5 else half) for half in halves]
        else:
            written.append(letter)
    return '"' + "".join(written) + '"'


def wild(rng: random.Random, value: Any) -> str:
    """A document with white space, escapes and numbers in every form that JSON has."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int():
            return str(value)
        case float():
            digits = repr(value)
            return rng.choice([digits, digits.replace("e", "E"), f"{value:.17e}", f"{value:.20E}"])
        case str():
            return wild_text(rng, value, True)
        case list():
            parts = (space(rng) + wild(rng, part) + space(rng) for part in value)
            return f"[{','.join(parts) or space(rng)}]"
        case dict():
            parts = []
            for key, part in value.items():
                name = wild_text(rng, key, not key.lstrip("-").isdigit())
                parts.append(
                    space(rng) + name + space(rng) + ":" + space(rng) + wild(rng, part) + space(rng)
                )
            return f"{{{','.join(parts) or space(rng)}}}"
    raise TypeError(value)


def values(report: Report, kind: str, schema: Any, count: int = VALUES):
    def check(rng: random.Random) -> str:
        for _ in range(count):
            node = tree(rng, 4) if schema == "any" else generate(rng, schema, True)
            words = text(node)
            datagram = report.ours.write(f"json-{kind}", node)
            if theirs(kind, datagram) != words:
                raise Disagreement(f"{datagram!r} is not {words} for Python")
            value = document(schema, node)
            for datagram in (
                python_writes(rng, value),
                (space(rng) + wild(rng, value) + space(rng)).encode(),
            ):
                answer = attempt(report.ours.read, f"json-{kind}", datagram)
                if answer != words:
                    raise Disagreement(f"{datagram!r} is {answer!r} for Postbox, not {words}")
        return f"{count} values written by Postbox, {2 * count} by Python"

    return check


def damaged(report: Report, kinds: list[str]):
    def check(rng: random.Random) -> str:
        taken = 0
        for _ in range(DAMAGED):
            kind = rng.choice(kinds)
            schema = {"value": "any", "record": RECORD}.get(kind, kind)
            both = []
            for _ in range(2):
                node = tree(rng, 3) if schema == "any" else generate(rng, schema, True)
                value = document(schema, node)
                both.append(
                    python_writes(rng, value) if rng.random() < 0.5 else wild(rng, value).encode()
                )
            taken += compare(report, kind, damage(rng, *both, ALPHABET))
        return f"{DAMAGED} damaged, {taken} of them valid for both"

    return check


def edges(report: Report):
    def check(rng: random.Random) -> str:
        cases = list(EDGES)
        value = document(RECORD, generate(rng, RECORD, True))
        for name, part in RECORD_EDGES:
            written = json.dumps({**value, name: "HERE"}).encode()
            cases.append(("record", written.replace(b'"HERE"', part)))
        without = [{key: part for key, part in value.items() if key != name} for name in value]
        cases += [("record", json.dumps(rest).encode()) for rest in without]
        cases.append(("record", json.dumps(list(value.values())).encode()))
        cases.append(("record", json.dumps(list(value.values())[:-1]).encode()))
        taken = sum(compare(report, kind, datagram) for kind, datagram in cases)
        return f"{len(cases)} chosen documents, {taken} of them valid for both"

    return check


def large_integers(report: Report):
    def check(rng: random.Random) -> str:
        for _ in range(VALUES):
            number = rng.choice([1, -1]) * rng.getrandbits(rng.randrange(1, 1100))
            compare(report, "value", str(number).encode())
            compare(report, rng.choice(["u128", "i128", "f64", "f32"]), str(number).encode())
        return f"{VALUES} integers of up to 1100 bits"

    return check


def main() -> None:
    sys.setrecursionlimit(20_000)
    sys.set_int_max_str_digits(0)
    report = Report("json", DEVIATIONS)
    report.run("any document", values(report, "value", "any"))
    report.run("typed documents", values(report, "record", RECORD))
    for kind in SCALARS:
        report.run(f"{kind} alone", values(report, kind, kind, VALUES // 4))
    report.run("integers of any size", large_integers(report))
    report.run("chosen documents", edges(report))
    report.run("any document, damaged", damaged(report, ["value"]))
    report.run("typed documents, damaged", damaged(report, ["record"]))
    report.run("numbers and texts alone, damaged", damaged(report, SCALARS))
    report.end()


main()
