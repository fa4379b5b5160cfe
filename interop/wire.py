"""What the interop peers say to each other, in the terms of EasyNetwork.

Every datagram is one JSON document. ``src/lib.rs`` is the same thing in Rust.

=============================================  ====================================================
request                                        answer
=============================================  ====================================================
``{"op": "echo", "text": T}``                  ``{"reply": "echo", "text": T}``
``{"op": "half", "number": N}``                ``{"reply": "half", "number": N / 2}``
``{"op": "conversation", "timeout_ms": MS}``   ``{"reply": "go on"}``, and then for an echo within
                                               MS milliseconds ``{"reply": "heard", "text": T}``,
                                               else ``{"reply": "timed out"}``
``{"op": "garble"}``                           a datagram that is no JSON, then
                                               ``{"reply": "garbled"}``
anything else                                  ``{"error": "bad request", "reason": WHY}``
=============================================  ====================================================

A bad request ends nothing: a conversation goes on after it, with its full time again.
"""

from __future__ import annotations

from typing import Any

from easynetwork.serializers import JSONSerializer
from easynetwork.serializers.abc import AbstractPacketSerializer

NOT_JSON = b'{"reply": "ec'


class JSONOrBytes(AbstractPacketSerializer[Any, Any]):
    """EasyNetwork's JSON serializer, except that ``bytes`` are sent as they are.

    This is how a peer sends what no correct peer would.
    """

    def __init__(self) -> None:
        super().__init__()
        self._json = JSONSerializer()

    def serialize(self, packet: Any) -> bytes:
        return packet if isinstance(packet, bytes) else self._json.serialize(packet)

    def deserialize(self, data: bytes) -> Any:
        return self._json.deserialize(data)
