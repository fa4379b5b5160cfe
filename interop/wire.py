"""What the interop peers say to each other, in the terms of EasyNetwork.

Every datagram is one packet, in one of FORMATS. ``src/lib.rs`` is the same thing in Rust.

=============================================  ====================================================
request                                        answer
=============================================  ====================================================
``{"op": "echo", "text": T}``                  ``{"reply": "echo", "text": T}``
``{"op": "half", "number": N}``                ``{"reply": "half", "number": N / 2}``
``{"op": "conversation", "timeout_ms": MS}``   ``{"reply": "go on"}``, and then for an echo within
                                               MS milliseconds ``{"reply": "heard", "text": T}``,
                                               else ``{"reply": "timed out"}``
``{"op": "garble"}``                           a datagram that is none, then
                                               ``{"reply": "garbled"}``
anything else                                  ``{"error": "bad request", "reason": WHY}``
=============================================  ====================================================

A bad request ends nothing: a conversation goes on after it, with its full time again.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import msgpack
from easynetwork.serializers import JSONSerializer, MessagePackSerializer
from easynetwork.serializers.abc import AbstractPacketSerializer
from easynetwork.serializers.wrapper.base64 import Base64EncoderSerializer
from easynetwork.serializers.wrapper.compressor import ZlibCompressorSerializer
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

GARBAGE = b'{"reply": "ec'
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


class Unreadable(Exception):
    """Says that a datagram is no packet."""


class OrBytes(AbstractPacketSerializer[Any, Any]):
    """A serializer, except that ``bytes`` are sent as they are.

    This is how a peer sends what no correct peer would.
    """

    def __init__(self, serializer: AbstractPacketSerializer[Any, Any]) -> None:
        super().__init__()
        self._serializer = serializer

    def serialize(self, packet: Any) -> bytes:
        return packet if isinstance(packet, bytes) else self._serializer.serialize(packet)

    def deserialize(self, data: bytes) -> Any:
        return self._serializer.deserialize(data)


class PlainMessagePack:
    """Python's ``msgpack``, without a framework."""

    def encode(self, packet: Any) -> bytes:
        return msgpack.packb(packet)

    def decode(self, datagram: bytes) -> Any:
        try:
            return msgpack.unpackb(datagram)
        except Exception as error:  # its documentation says so
            raise Unreadable(str(error)) from error


class PlainProtobuf:
    """Python's ``protobuf``, with the schema that our programs have compiled."""

    def __init__(self, sent: str, received: str) -> None:
        pool = descriptor_pool.DescriptorPool()
        with open(os.environ["POSTBOX_DESCRIPTORS"], "rb") as file:
            for schema in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
                pool.Add(schema)
        self._sent, self._received = (
            message_factory.GetMessageClass(pool.FindMessageTypeByName(f"postbox.interop.{name}"))
            for name in (sent, received)
        )

    def encode(self, packet: dict[str, Any]) -> bytes:
        fields = dict(packet)
        name = fields.pop("op", None) or fields.pop("reply", None) or "refusal"
        sent = self._sent()
        part = getattr(sent, name.replace(" ", "_"))
        part.SetInParent()
        for field, value in fields.items():
            setattr(part, field, value)
        return sent.SerializeToString()

    def decode(self, datagram: bytes) -> dict[str, Any]:
        try:
            received = self._received.FromString(datagram)
        except message.DecodeError as error:
            raise Unreadable(str(error)) from error
        (choice,) = received.DESCRIPTOR.oneofs
        name = received.WhichOneof(choice.name)
        if name is None:
            raise Unreadable("nothing is said")
        part = getattr(received, name)
        fields = {field.name: getattr(part, field.name) for field in part.DESCRIPTOR.fields}
        return fields if name == "refusal" else {choice.name: name.replace("_", " "), **fields}


class Format(NamedTuple):
    """What EasyNetwork has for a format, and what there is without it."""

    easynetwork: AbstractPacketSerializer[Any, Any] | None
    plain: type[PlainMessagePack] | type[PlainProtobuf] | None

    def client(self) -> PlainMessagePack | PlainProtobuf:
        return PlainProtobuf("Ask", "Answer") if self.plain is PlainProtobuf else self.plain()

    def server(self) -> PlainMessagePack | PlainProtobuf:
        return PlainProtobuf("Answer", "Ask") if self.plain is PlainProtobuf else self.plain()

    def malformed(self) -> dict[str, bytes]:
        """What a server has to refuse, and be none the worse for it; the empty datagram is not
        among it.
        """
        broken = {"no packet": b"hello", "NUL bytes": bytes(16)}
        if self.easynetwork is None:
            return broken | {
                "cut short": b"\x0a",
                "cut short within": b"\x0a\x05\x0a\x05hel",
                "not UTF-8": b"\x0a\x03\x0a\x01\xe9",
                "a group without end": b"\x0b",
                "unknown op": b"\x7a\x02hi",
                "followed by more": b"\x0a\x04\x0a\x02hi\x00",
            }
        echo = self.easynetwork.serialize({"op": "echo", "text": "hello"})
        broken["cut short"] = echo[:-1]
        if isinstance(self.easynetwork, Base64EncoderSerializer):
            broken["preceded by more"] = (
                b"bbbb" + echo
            )  # what follows the padding is left out by Python
        else:
            broken |= {"followed by more": echo + b"b", "two packets": echo + echo}
        if isinstance(self.easynetwork, JSONSerializer):
            broken["not UTF-8"] = b'{"op": "echo", "text": "\xe9"}'
            broken["NaN"] = b'{"op": "half", "number": NaN}'
        packets = {
            "an array": [],
            "null": None,
            "unknown op": {"op": "fly"},
            "no op": {"text": "a"},
            "a field missing": {"op": "echo"},
            "a field of another type": {"op": "echo", "text": 1},
        }
        return broken | {
            what: self.easynetwork.serialize(packet) for what, packet in packets.items()
        }


FORMATS = {
    "json": Format(JSONSerializer(), None),
    "msgpack": Format(MessagePackSerializer(), PlainMessagePack),
    "msgpack.base64": Format(
        Base64EncoderSerializer(MessagePackSerializer(), alphabet="urlsafe", checksum=KEY), None
    ),
    "msgpack.zlib": Format(ZlibCompressorSerializer(MessagePackSerializer()), None),
    "protobuf": Format(None, PlainProtobuf),
}
