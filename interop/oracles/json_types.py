"""What serde's rules make of a JSON document that Python has read."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

from common import Deviations, Map, Refused, Single
from record import CONTROL, INTEGERS, STRICT, bounds, nearest_single

MAX_DEPTH = 127
# Half a step beyond the largest float of 32 bits: from here on the nearest is infinity.
BEYOND_SINGLE = Fraction((1 << 128) - (1 << 103))


class Number(float):
    """A float that remembers how it was written."""

    def __new__(cls, digits: str) -> Number:
        number = super().__new__(cls, digits)
        number.digits = digits
        return number


def document(schema: Any, node: Any) -> Any:
    """The document that says the node, for ``json.dumps``."""
    match schema:
        case "any":
            match node:
                case Map():
                    return {key: document("any", value) for key, value in node}
                case list():
                    return [document("any", value) for value in node]
            return node
        case "f32":
            return node.double()
        case "bytes":
            return list(node)
        case ["option", inner]:
            return None if node is None else document(inner, node)
        case ["list", inner]:
            return [document(inner, part) for part in node]
        case ["tuple", kinds]:
            return [document(kind, part) for kind, part in zip(kinds, node, strict=True)]
        case ["map", _, inner]:
            return {str(key): document(inner, value) for key, value in node}
        case ["struct", _, fields]:
            return {
                name: document(kind, part) for (name, kind), part in zip(fields, node, strict=True)
            }
        case ["enum", variants]:
            return (
                {name: document(variants[name], data) for name, data in node}
                if isinstance(node, Map)
                else node
            )
    return node


class Reader:
    def __init__(self, deviations: Deviations, datagram: bytes) -> None:
        self.deviations = deviations
        self.datagram = datagram

    def refuse(self, deviation: str) -> None:
        self.deviations.allow(deviation)
        raise Refused(deviation)

    def deeper(self, depth: int) -> int:
        if depth == MAX_DEPTH:
            self.refuse("depth")
        return depth + 1

    def text(self, value: str) -> str:
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            self.refuse("lone surrogates")
        if any(CONTROL <= ord(letter) < CONTROL + 0x20 for letter in value):
            raise Refused("a control character")
        return value

    def float(self, value: Any) -> float:
        if isinstance(value, Number) and value.digits == "-0":
            self.deviations.allow("minus zero")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            self.refuse("floats out of range")
        return number

    def any(self, value: Any, depth: int) -> Any:
        match value:
            case None | bool():
                return value
            case int():
                if -(1 << 63) <= value < 1 << 64:
                    return value
                number = self.float(value)
                self.deviations.allow("large integers")
                return number
            case float():
                return self.float(value)
            case str():
                return self.text(value)
            case Map():
                depth = self.deeper(depth)
                # A text that is refused may be under a key that comes again.
                pairs = [(self.text(key), self.any(part, depth)) for key, part in value]
                return Map(dict(pairs).items())
            case list():
                depth = self.deeper(depth)
                return [self.any(part, depth) for part in value]
        raise TypeError(value)

    def ignore(self, value: Any, depth: int) -> None:
        """Nobody reads the value: anything that is JSON will do."""
        match value:
            case str():
                if any("\ud800" <= letter <= "\udfff" for letter in value):
                    self.deviations.allow("unread surrogates and floats")
                self.text("".join(letter for letter in value if not "\ud800" <= letter <= "\udfff"))
            case float() if math.isinf(value):
                self.deviations.allow("unread surrogates and floats")
            case list():
                if depth == MAX_DEPTH:
                    self.deviations.allow("unread depth")
                for part in value:
                    for one in part if isinstance(value, Map) else (part,):
                        self.ignore(one, depth + 1)

    def single(self, value: Any) -> Single:
        """The nearest float of 32 bits, of what is written and not of the double next to it."""
        if isinstance(value, Number):
            if abs(self.float(value)) < 1e-300:
                return nearest_single(value)
            exact = Fraction(value.digits)
        else:
            exact = Fraction(value)
        if abs(exact) >= BEYOND_SINGLE:
            self.refuse("floats out of range")
        bits = nearest_single(float(exact)).bits
        # The double in between may have rounded to a tie, or across one.
        candidates = [
            Single(near)
            for near in (bits - 1, bits, bits + 1)
            if 0 <= near & 0x7FFFFFFF < 0x7F800000
        ]
        return min(
            candidates, key=lambda single: (abs(Fraction(single.double()) - exact), single.bits & 1)
        )

    def read(self, schema: Any, value: Any, depth: int) -> Any:
        match schema, value:
            case "any", _:
                return self.any(value, depth)
            case "bool", bool():
                return value
            case "unit", None:
                return None
            case ("f64", float()) | ("f64", int()) if not isinstance(value, bool):
                return self.float(value)
            case ("f32", float()) | ("f32", int()) if not isinstance(value, bool):
                return self.single(value)
            case "char", str() if len(self.text(value)) == 1:
                return value
            case "text", str():
                return self.text(value)
            case "bytes", str():
                plain = value.translate({CONTROL + code: code for code in range(0x20)})
                if plain != value:
                    self.deviations.allow("control characters in bytes")
                data = plain.encode("utf-8", "surrogatepass")
                if data != plain.encode("utf-8", "replace"):
                    self.deviations.allow("surrogates in bytes")
                return data
            case "bytes", list() if not isinstance(value, Map):
                depth = self.deeper(depth)
                return bytes(self.read("u8", part, depth) for part in value)
            case str(), _ if schema in INTEGERS:
                return self.integer(schema, value)
            case ["option", inner], _:
                return None if value is None else self.read(inner, value, depth)
            case ["list", inner], list() if not isinstance(value, Map):
                depth = self.deeper(depth)
                return [self.read(inner, part, depth) for part in value]
            case ["tuple", kinds], list() if not isinstance(value, Map) and len(value) == len(
                kinds
            ):
                depth = self.deeper(depth)
                return [
                    self.read(kind, part, depth) for kind, part in zip(kinds, value, strict=True)
                ]
            case ["map", key_kind, inner], Map():
                depth = self.deeper(depth)
                pairs = [
                    (self.key(key_kind, key), self.read(inner, part, depth)) for key, part in value
                ]
                return Map(dict(pairs).items())
            case ["struct", name, fields], list():
                return self.struct(name, fields, value, self.deeper(depth))
            case ["enum", variants], str() if value in variants and variants[value] is None:
                return value
            case ["enum", variants], Map() if len(value) == 1 and value[0][0] in variants:
                name, data = value[0]
                kind = variants[name]
                part = self.read(kind or "unit", data, self.deeper(depth))
                return name if kind is None else Map([(name, part)])
        raise Refused(f"{value!r} is no {schema}")

    def integer(self, kind: str, value: Any) -> int:
        low, high = bounds(kind)
        if isinstance(value, Number) and value.digits == "-0":
            self.deviations.allow("minus zero")
            if kind == "i128":
                return 0
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise Refused(f"{value!r} is no {kind}")

    def key(self, kind: str, key: str) -> Any:
        if kind == "text":
            return self.text(key)
        if not re.fullmatch(r"-?(0|[1-9][0-9]*)", key) or key == "-0":
            raise Refused(f"{key!r} is no {kind}")
        number = self.integer(kind, int(key))
        if f'"{key}"'.encode() not in self.datagram:
            self.refuse("escaped number keys")
        return number

    def struct(self, name: str, fields: list[Any], value: list[Any], depth: int) -> list[Any]:
        if not isinstance(value, Map):
            if len(value) != len(fields):
                raise Refused("another number of fields")
            return [
                self.read(kind, part, depth) for (_, kind), part in zip(fields, value, strict=True)
            ]
        read: dict[str, Any] = {}
        kinds = dict(fields)
        for key, part in value:
            if self.text(key) not in kinds:
                if name in STRICT:
                    raise Refused(f"unknown field {key}")
                self.ignore(part, depth)
            elif key in read:
                raise Refused(f"{key} twice")
            else:
                read[key] = self.read(kinds[key], part, depth)
        for key, kind in fields:
            if key not in read:
                if kind[0] != "option":
                    raise Refused(f"{key} is missing")
                read[key] = None
        return [read[key] for key, _ in fields]


def read_as(schema: Any, value: Any, deviations: Deviations, datagram: bytes) -> Any:
    return Reader(deviations, datagram).read(schema, value, 0)
