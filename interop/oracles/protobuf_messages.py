"""Messages of ``everything.proto`` by Python's protobuf: random ones, what they say, and other
forms of them.
"""

from __future__ import annotations

import os
import random
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from record import double, integer, nearest_single, single, string

from common import Map

INTEGERS = {
    FieldDescriptor.TYPE_INT32: "i32",
    FieldDescriptor.TYPE_INT64: "i64",
    FieldDescriptor.TYPE_UINT32: "u32",
    FieldDescriptor.TYPE_UINT64: "u64",
    FieldDescriptor.TYPE_SINT32: "i32",
    FieldDescriptor.TYPE_SINT64: "i64",
    FieldDescriptor.TYPE_FIXED32: "u32",
    FieldDescriptor.TYPE_FIXED64: "u64",
    FieldDescriptor.TYPE_SFIXED32: "i32",
    FieldDescriptor.TYPE_SFIXED64: "i64",
}
FIXED_64 = {
    FieldDescriptor.TYPE_DOUBLE,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}
FIXED_32 = {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32}
COUNTED = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE}
FLOATS = {FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT}


def classes() -> dict[str, type[Message]]:
    """The messages, from the schema as our program has compiled it."""
    pool = descriptor_pool.DescriptorPool()
    with open(os.environ["POSTBOX_DESCRIPTORS"], "rb") as file:
        for schema in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
            pool.Add(schema)
    names = ["Everything", "NewerPerson", "Person"]
    found = {name: pool.FindMessageTypeByName(f"postbox.schema.{name}") for name in names}
    return {name: message_factory.GetMessageClass(kind) for name, kind in found.items()}


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def in_oneof(field: FieldDescriptor) -> bool:
    """Whether it is of a real oneof: an optional field is one of its own."""
    return field.containing_oneof is not None and len(field.containing_oneof.fields) > 1


def scalar(rng: random.Random, field: FieldDescriptor) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_DOUBLE:
            return double(rng, False)
        case FieldDescriptor.TYPE_FLOAT:
            return single(rng, False).double()
        case FieldDescriptor.TYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.TYPE_STRING:
            return string(rng)
        case FieldDescriptor.TYPE_BYTES:
            return rng.randbytes(rng.choice([0, 1, 5, 130]))
        case FieldDescriptor.TYPE_ENUM:
            return rng.choice([0, 1, 2, -1, 77, integer(rng, "i32")])
    return integer(rng, INTEGERS[field.type])


def fill(rng: random.Random, message: Message, depth: int = 0) -> Message:
    """Sets some fields, now and then to their defaults."""
    dense = rng.choice([0.1, 0.3, 0.9])
    for field in message.DESCRIPTOR.fields:
        if rng.random() >= dense or (field.message_type == message.DESCRIPTOR and depth == 3):
            continue
        value = getattr(message, field.name)
        if is_map(field):
            key_field, part_field = field.message_type.fields
            for _ in range(rng.randrange(4)):
                key = scalar(rng, key_field)
                if part_field.message_type:
                    fill(rng, value[key], depth + 1)
                else:
                    value[key] = scalar(rng, part_field)
        elif field.message_type and field.is_repeated:
            for _ in range(rng.randrange(4)):
                fill(rng, value.add(), depth + 1)
        elif field.message_type:
            value.SetInParent()
            fill(rng, value, depth + 1)
        elif field.is_repeated:
            value.extend(scalar(rng, field) for _ in range(rng.choice([0, 1, 2, 20])))
        else:
            setattr(message, field.name, scalar(rng, field))
    return message


def leaf(field: FieldDescriptor, value: Any, lose_sign: bool) -> Any:
    if field.message_type:
        return node(value, lose_sign)
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return nearest_single(value)
    return value


def implicit(field: FieldDescriptor, value: Any, lose_sign: bool) -> Any:
    """A float without presence, as prost sends it: of negative zero the sign is lost."""
    if lose_sign and field.type in FLOATS and value == 0.0:
        value = 0.0
    return leaf(field, value, lose_sign)


def node(message: Message, lose_sign: bool = False) -> list[Any]:
    """The message as our program says it: the list of its fields, of a oneof the number and the
    value.
    """
    said: list[Any] = []
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if is_map(field):
            key_field, part_field = field.message_type.fields
            pairs = ((key, implicit(part_field, value[key], lose_sign)) for key in value)
            said.append(Map((leaf(key_field, key, False), part) for key, part in pairs))
        elif field.is_repeated:
            said.append([leaf(field, part, lose_sign) for part in value])
        elif in_oneof(field):
            if field.containing_oneof.fields[0] == field:
                name = message.WhichOneof(field.containing_oneof.name)
                chosen = message.DESCRIPTOR.fields_by_name[name] if name else None
                value = chosen and [chosen.number, leaf(chosen, getattr(message, name), lose_sign)]
                said.append(value)
        elif field.has_presence:
            said.append(leaf(field, value, lose_sign) if message.HasField(field.name) else None)
        else:
            said.append(implicit(field, value, lose_sign))
    return said


def varint(rng: random.Random, number: int, longest: int) -> bytes:
    """A number in its shortest form, or now and then in more bytes."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F)
    if rng.random() < 0.2:
        groups += [0] * rng.randrange(longest - len(groups) + 1)
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and where it ends. ``IndexError`` if the data ends before."""
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return number, at


def records(data: bytes) -> list[tuple[int, int, Any]]:
    """The fields of a valid message without groups: number, form, and value."""
    found = []
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        match tag & 7:
            case 0:
                value, at = read_varint(data, at)
            case 2:
                size, at = read_varint(data, at)
                value, at = data[at : at + size], at + size
            case form:
                size = 8 if form == 1 else 4
                value, at = data[at : at + size], at + size
        found.append((tag >> 3, tag & 7, value))
    return found


def form_of(field: FieldDescriptor) -> int:
    if field.type in FIXED_64:
        return 1
    if field.type in FIXED_32:
        return 5
    return 2 if field.type in COUNTED else 0


def split(form: int, packed: bytes) -> list[Any]:
    """The numbers of a packed list."""
    if form:
        size = 8 if form == 1 else 4
        return [packed[at : at + size] for at in range(0, len(packed), size)]
    numbers, at = [], 0
    while at < len(packed):
        number, at = read_varint(packed, at)
        numbers.append(number)
    return numbers


def written(rng: random.Random, number: int, form: int, value: Any) -> bytes:
    tag = varint(rng, number << 3 | form, 5)
    if form == 0:
        return tag + varint(rng, value, 10)
    return tag + (varint(rng, len(value), 5) if form == 2 else b"") + value


def unknown(rng: random.Random) -> bytes:
    """A field that no message here has; it may be a group with others in it."""
    number = rng.choice([18, 99, 3000, 536_870_910])
    match rng.randrange(5):
        case 0:
            return written(rng, number, 0, rng.getrandbits(64))
        case 1:
            return written(rng, number, 1, rng.randbytes(8))
        case 2:
            return written(rng, number, 5, rng.randbytes(4))
        case 3:
            return written(rng, number, 2, rng.randbytes(rng.randrange(5)))
        case _:
            inner = unknown(rng) if rng.random() < 0.5 else b""
            return varint(rng, number << 3 | 3, 5) + inner + varint(rng, number << 3 | 4, 5)


def wild(rng: random.Random, data: bytes, kind: Descriptor) -> bytes:
    """Another form of a message: fields in another order, lists packed or not, long numbers,
    unknown fields.
    """
    parts: dict[int, list[bytes]] = {}
    for number, form, value in records(data):
        field = kind.fields_by_number[number]
        many = parts.setdefault(number, [])
        if field.message_type and not is_map(field):
            value = wild(rng, value, field.message_type)
        if field.is_repeated and form_of(field) != 2:
            numbers = split(form_of(field), value) if form == 2 else [value]
            while numbers:
                cut = rng.randrange(1, len(numbers) + 1)
                some, numbers = numbers[:cut], numbers[cut:]
                if rng.random() < 0.5:
                    many += [written(rng, number, form_of(field), one) for one in some]
                else:
                    packed = (varint(rng, one, 10) if form_of(field) == 0 else one for one in some)
                    many.append(written(rng, number, 2, b"".join(packed)))
        else:
            many.append(written(rng, number, form, value))
    queues = list(parts.values()) + [[unknown(rng)] for _ in range(rng.choice([0, 0, 1, 2]))]
    out = []
    while queues := [queue for queue in queues if queue]:
        out.append(rng.choice(queues).pop(0))
    return b"".join(out)
