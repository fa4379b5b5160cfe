"""What rmp-serde makes of a MessagePack value that Python has read, and how a typed value looks."""

from __future__ import annotations

import struct
from typing import Any

from common import Deviations, Ext, Map, Moment, Refused, Single
from record import INTEGERS, STRICT, bounds, nearest_single

MAX_DEPTH = 127
WIDE = {"i128", "u128"}


def document(schema: Any, node: Any, compact: bool) -> Any:
    """The MessagePack that says the node; a struct is a map or, if compact, an array."""
    match schema:
        case "i128" | "u128":
            return node.to_bytes(16, "big", signed=schema == "i128")
        case ["option", inner]:
            return None if node is None else document(inner, node, compact)
        case ["list", inner]:
            return [document(inner, part, compact) for part in node]
        case ["tuple", kinds]:
            return [document(kind, part, compact) for kind, part in zip(kinds, node, strict=True)]
        case ["map", key_kind, inner]:
            return Map(
                (document(key_kind, key, compact), document(inner, value, compact))
                for key, value in node
            )
        case ["struct", _, fields]:
            parts = [
                (name, document(kind, part, compact))
                for (name, kind), part in zip(fields, node, strict=True)
            ]
            return [part for _, part in parts] if compact else Map(parts)
        case ["enum", variants] if isinstance(node, Map):
            return Map((name, document(variants[name], data, compact)) for name, data in node)
    return node


class Reader:
    def __init__(self, deviations: Deviations) -> None:
        self.deviations = deviations

    def bound(self, value: Any, depth: int = 0) -> None:
        """Refuses what nests too deep, wherever it is."""
        if isinstance(value, list):
            if depth == MAX_DEPTH:
                self.deviations.allow("depth")
                raise Refused("depth")
            for part in value:
                for one in part if isinstance(value, Map) else (part,):
                    self.bound(one, depth + 1)

    def read(self, schema: Any, value: Any) -> Any:
        match schema, value:
            case (
                ("any", _)
                | ("bool", bool())
                | ("unit", None)
                | ("extension", Ext())
                | ("timestamp", Moment())
            ):
                return value
            case "extension", Moment():
                return value
            case "f64", _ if isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
            case "f32", int() if not isinstance(value, bool):
                return self.single_of_integer(value)
            case "f32", float():
                return nearest_single(value)
            case "char", str() if len(value) == 1:
                return value
            case "text", str():
                return value
            case "text", bytes():
                return self.utf8(value)
            case "bytes", bytes():
                return value
            case "bytes", str():
                return value.encode()
            case "bytes", list() if not isinstance(value, Map):
                return bytes(self.read("u8", part) for part in value)
            case str(), _ if schema in INTEGERS:
                return self.integer(schema, value)
            case ["option", inner], _:
                return None if value is None else self.read(inner, value)
            case ["list", inner], list() if not isinstance(value, Map):
                return [self.read(inner, part) for part in value]
            case ["list", inner], bytes():
                return [self.read_byte(inner, byte) for byte in value]
            case ["tuple", kinds], bytes() if len(value) >= len(kinds):
                if len(value) > len(kinds):
                    self.deviations.allow("bytes beyond a tuple")
                return [
                    self.read_byte(kind, byte) for kind, byte in zip(kinds, value, strict=False)
                ]
            case ["tuple", kinds], list() if not isinstance(value, Map) and len(value) == len(
                kinds
            ):
                return [self.read(kind, part) for kind, part in zip(kinds, value, strict=True)]
            case ["map", key_kind, inner], Map():
                pairs = [(self.read(key_kind, key), self.read(inner, part)) for key, part in value]
                return Map(dict(pairs).items())
            case ["struct", name, fields], Map():
                return self.named(name, fields, value)
            case ["struct", _, fields], list() if len(value) == len(fields):
                return [
                    self.read(kind, part) for (_, kind), part in zip(fields, value, strict=True)
                ]
            case ["enum", variants], Map() if len(value) == 1:
                name = self.identifier(list(variants), value[0][0])
                if name in variants:
                    kind = variants[name]
                    part = self.read(kind or "unit", value[0][1])
                    return name if kind is None else Map([(name, part)])
            case ["enum", variants], str() | bytes() | int() if not isinstance(value, bool):
                name = self.identifier(list(variants), value)
                if name in variants and variants[name] is None:
                    return name
        raise Refused(f"{value!r} is no {schema}")

    def read_byte(self, schema: Any, byte: int) -> Any:
        """A byte of a byte string where a list of other things is expected."""
        if isinstance(schema, list) and schema[0] != "option":
            raise Refused("a byte")
        return self.read(schema, byte)

    @staticmethod
    def utf8(value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise Refused(str(error)) from None

    @staticmethod
    def single_of_integer(value: int) -> Single:
        near = nearest_single(float(value))
        candidates = [Single(bits) for bits in (max(near.bits, 1) - 1, near.bits, near.bits + 1)]
        return (
            min(candidates, key=lambda single: (abs(int(single.double()) - value), single.bits & 1))
            if value
            else near
        )

    def integer(self, kind: str, value: Any) -> int:
        low, high = bounds(kind)
        if kind in WIDE and isinstance(value, bytes) and len(value) == 16:
            return int.from_bytes(value, "big", signed=kind == "i128")
        if isinstance(value, int) and not isinstance(value, bool):
            if low <= value <= high:
                return value
            if kind == "u128":
                self.deviations.allow("negative u128")
                return value + (1 << 128)
        raise Refused(f"{value!r} is no {kind}")

    def identifier(self, names: list[str], value: Any) -> str | None:
        """The name of a field or a variant, or None if there is none."""
        match value:
            case str():
                return value
            case bytes():
                return value.decode("utf-8", "replace")
            case int() if value >= 0 and not isinstance(value, bool):
                self.deviations.allow("names by number")
                return names[value] if value < len(names) else None
        raise Refused(f"{value!r} is no name")

    def named(self, struct_name: str, fields: list[Any], value: Map) -> list[Any]:
        kinds = dict(fields)
        read: dict[str, Any] = {}
        for key, part in value:
            name = self.identifier(list(kinds), key)
            if name not in kinds:
                if struct_name in STRICT:
                    raise Refused(f"unknown field {name}")
            elif name in read:
                raise Refused(f"{name} twice")
            else:
                read[name] = self.read(kinds[name], part)
        for name, kind in fields:
            if name not in read:
                if kind[0] != "option":
                    raise Refused(f"{name} is missing")
                read[name] = None
        return [read[name] for name, _ in fields]


def read_as(schema: Any, value: Any, deviations: Deviations) -> Any:
    reader = Reader(deviations)
    reader.bound(value)
    return reader.read(schema, value)


def moment_of(data: bytes) -> Moment:
    """The moment that an extension of kind -1 says; ``struct.error`` or ``ValueError`` if it says
    none.
    """
    match len(data):
        case 4:
            moment = Moment(struct.unpack(">I", data)[0], 0)
        case 8:
            (both,) = struct.unpack(">Q", data)
            moment = Moment(both & ((1 << 34) - 1), both >> 34)
        case _:
            nanos, seconds = struct.unpack(">Iq", data)
            moment = Moment(seconds, nanos)
    if moment.nanos >= 1_000_000_000:
        raise ValueError("more nanoseconds than a second has")
    return moment
