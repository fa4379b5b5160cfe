"""Python's ``protobuf`` and our protobuf codec, each reading what the other wrote.

    python oracle_protobuf.py PROGRAM [SEED]

PROGRAM is interop_oracle; POSTBOX_DESCRIPTORS names the file with its schemas (``interop_oracle
descriptors``). The messages are those of ``codec-protobuf/schema/everything.proto``, which has
every kind of field.
"""

from __future__ import annotations

import random
import re

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from protobuf_messages import classes, fill, form_of, is_map, node, read_varint, wild

from common import DAMAGED, VALUES, Deviations, Disagreement, Refused, Report, attempt, damage, text

DEVIATIONS = Deviations(
    {
        "negative zero": (
            "in a field without presence prost takes -0.0 for the default, which is not sent"
        ),
        "another form": (
            "a known field in another form than its type has is unknown to Python, and refused by "
            "prost"
        ),
        "more than 64 bits": (
            "a number of ten bytes has one bit left in the last: prost refuses more, Python drops "
            "them"
        ),
        "long tags": (
            "a field's number and form in more than five bytes are refused by Python; prost reads "
            "up to ten"
        ),
        "long lengths": "the same of a length",
        "field 0 in groups": (
            "no field has the number 0; Python does not look into unknown groups for it"
        ),
        "unknown fields in maps": (
            "Python takes the entry of a map with an unknown field in it for unknown itself; "
            "prost ignores the field alone"
        ),
        "signalling NaNs": (
            "Python's floats have 64 bits, and one of 32 bits is made quiet on its way there; we "
            "keep its bits"
        ),
    }
)
STRICTER = {"another form", "more than 64 bits", "field 0 in groups"}  # we refuse, Python does not
LOOSER = {"long tags", "long lengths"}  # Python refuses, we do not
DIFFERENT = {"unknown fields in maps"}
ALPHABET = bytes(
    [0, 1, 2, 3, 4, 5, 7, 8, 0x0A, 0x0B, 0x0C, 0x0D, 0x12, 0x7F, 0x80, 0x81, 0xFF, 0xA2, 0xC3, 0xE2]
)
CLASSES = classes()
NEXT = b"\xe2\x03"  # the tag of Everything.next


def decode(kind: str, datagram: bytes) -> Message:
    try:
        return CLASSES[kind].FromString(datagram)
    except DecodeError as error:
        raise Refused(str(error)) from None


def theirs(kind: str, datagram: bytes) -> str:
    return text(node(decode(kind, datagram)))


def ours(report: Report, kind: str, datagram: bytes) -> str:
    """What our program reads, with the floats of 32 bits as Python can hold them."""

    def mute(match: re.Match[str]) -> str:
        bits = int(match[1], 16)
        if bits & 0x7F800000 == 0x7F800000 and bits & 0x007FFFFF and not bits & 0x00400000:
            DEVIATIONS.allow("signalling NaNs")
            return f"e{bits | 0x00400000:08x}"
        return match[0]

    return re.sub(r"\be([0-9a-f]{8})\b", mute, report.ours.read(f"protobuf-{kind}", datagram))


class Walk:
    """What is unusual in a message, as far as it can be read: the names of deviations."""

    def __init__(self, data: bytes, kind: Descriptor) -> None:
        self.odd: set[str] = set()
        self._message(data, kind)

    def _varint(self, data: bytes, at: int) -> tuple[int, int]:
        number, end = read_varint(data, at)
        if end - at == 10 and data[end - 1] > 1:
            self.odd.add("more than 64 bits")
        return number, end

    def _message(self, data: bytes, kind: Descriptor, entry: bool = False) -> None:
        at = 0
        groups = 0
        while at < len(data):
            try:
                begin = at
                tag, at = read_varint(data, at)
                if at - begin > 5:
                    self.odd.add("long tags")
                value = None
                match tag & 7:
                    case 0:
                        _, at = self._varint(data, at)
                    case 1:
                        at += 8
                    case 2:
                        begin = at
                        size, at = read_varint(data, at)
                        if at - begin > 5:
                            self.odd.add("long lengths")
                        value, at = data[at : at + size], at + size
                    case 3:
                        groups += 1
                    case 4:
                        groups -= 1
                    case 5:
                        at += 4
                    case _:
                        return
            except IndexError:
                return
            # A group that begins here is a form too; within one, the numbers mean nothing.
            if groups != (tag & 7 == 3):
                if tag >> 3 == 0:
                    self.odd.add("field 0 in groups")
                continue
            if tag >> 3 in kind.fields_by_number:
                self._field(kind.fields_by_number[tag >> 3], tag & 7, value)
            elif entry:
                self.odd.add("unknown fields in maps")

    def _field(self, field: FieldDescriptor, form: int, value: bytes | None) -> None:
        if form != form_of(field) and not (field.is_repeated and form == 2):
            self.odd.add("another form")
        elif value is not None and field.message_type:
            self._message(value, field.message_type, is_map(field))
        elif value is not None and form_of(field) == 0:
            at = 0
            while at < len(value):
                try:
                    _, at = self._varint(value, at)
                except IndexError:
                    return


def compare(report: Report, kind: str, datagram: bytes) -> bool:
    """Whether both take the datagram; if they disagree that is the end."""
    expected, answer = attempt(theirs, kind, datagram), attempt(ours, report, kind, datagram)
    if isinstance(expected, Refused) and isinstance(answer, Refused):
        return False
    if expected == answer:
        return True
    known = (
        STRICTER
        if isinstance(answer, Refused)
        else LOOSER
        if isinstance(expected, Refused)
        else DIFFERENT
    )
    reasons = known & Walk(datagram, CLASSES[kind].DESCRIPTOR).odd
    for reason in reasons:
        DEVIATIONS.allow(reason)
    if reasons:
        return False
    raise Disagreement(
        f"{kind} {datagram.hex()} is {expected!r} for Python, {answer!r} for Postbox"
    )


def random_message(rng: random.Random) -> tuple[str, Message]:
    kind = rng.choice(["Everything", "Everything", "Everything", "NewerPerson", "Person"])
    return kind, fill(rng, CLASSES[kind]())


def values(report: Report):
    def check(rng: random.Random) -> str:
        same = 0
        for _ in range(VALUES):
            kind, message = random_message(rng)
            words, sent = text(node(message)), text(node(message, lose_sign=True))
            if words != sent:
                DEVIATIONS.allow("negative zero")
            postbox = report.ours.write(f"protobuf-{kind}", node(message))
            if theirs(kind, postbox) != sent:
                raise Disagreement(
                    f"{kind} {postbox.hex()} is {theirs(kind, postbox)} for Python, not {sent}"
                )
            python = message.SerializeToString(deterministic=True)
            answer = attempt(ours, report, kind, python)
            if answer != words:
                raise Disagreement(f"{kind} {python.hex()} is {answer!r} for Postbox, not {words}")
            # Python writes also what is default in the entry of a map, and prost does not.
            same += postbox == python
        return f"{VALUES} messages each way, {same} of them in the same bytes"

    return check


def other_forms(report: Report):
    def check(rng: random.Random) -> str:
        for _ in range(VALUES):
            kind, message = random_message(rng)
            datagram = wild(rng, message.SerializeToString(), message.DESCRIPTOR)
            words = text(node(message))
            for name, answer in (
                ("Python", attempt(theirs, kind, datagram)),
                ("Postbox", attempt(ours, report, kind, datagram)),
            ):
                if answer != words:
                    raise Disagreement(
                        f"{name} reads {kind} {datagram.hex()} as {answer!r}, not {words}"
                    )
        return f"{VALUES} messages, fields in any order and form, with unknown ones between them"

    return check


def merged(report: Report):
    def check(rng: random.Random) -> str:
        taken = 0
        for _ in range(VALUES):
            kind = rng.choice(["Everything", "Everything", "NewerPerson"])
            parts = [fill(rng, CLASSES[kind]()) for _ in range(2)]
            datagram = b"".join(part.SerializeToString() for part in parts)
            taken += compare(report, kind, datagram)
        return f"{VALUES} messages appended to others, {taken} of them valid for both"

    return check


def mistaken(report: Report):
    def check(rng: random.Random) -> str:
        taken = 0
        for _ in range(VALUES):
            kind, message = random_message(rng)
            other = rng.choice([name for name in CLASSES if name != kind])
            taken += compare(report, other, message.SerializeToString())
        return f"{VALUES} messages read as others, {taken} of them valid for both"

    return check


def damaged(report: Report):
    def check(rng: random.Random) -> str:
        taken = 0
        for _ in range(DAMAGED):
            kind, message = random_message(rng)
            other = fill(rng, CLASSES[kind]())
            both = [wild(rng, one.SerializeToString(), one.DESCRIPTOR) for one in (message, other)]
            taken += compare(report, kind, damage(rng, *both, ALPHABET))
        return f"{DAMAGED} damaged, {taken} of them valid for both"

    return check


def within(tag: bytes, depth: int, inner: bytes = b"") -> bytes:
    """A message within messages."""
    for _ in range(depth):
        size = len(inner)
        inner = (
            tag + (bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])) + inner
        )
    return inner


def chosen(report: Report):
    def check(_: random.Random) -> str:
        cases = [
            ("Everything", datagram)
            for datagram in [
                b"",
                b"\x00",
                b"\x00\x00",
                b"\x06",
                b"\x07",
                b"\x0f",
                b"\x18" + b"\x80" * 9 + b"\x01",
                b"\x18" + b"\xff" * 9 + b"\x01",
                b"\x18" + b"\xff" * 9 + b"\x02",
                b"\x18" + b"\xff" * 9 + b"\x7f",
                b"\x18" + b"\xff" * 10 + b"\x01",
                b"\x18" + b"\x80" * 9 + b"\x00",
                b"\x18" + b"\x80" * 10 + b"\x00",
                b"\x98\x00\x01",
                b"\x98\x80\x80\x80\x00\x01",
                b"\x98\x80\x80\x80\x80\x00\x01",
                b"\x98\x80\x80\x80\x80\x80\x80\x80\x80\x00\x01",
                b"\xf8\xff\xff\xff\x0f\x01",
                b"\xf8\xff\xff\xff\x1f\x01",
                b"\xf9\xff\xff\xff\x0f" + bytes(8),
                b"\x72\xff\xff\xff\xff\x07",
                b"\x72\xff\xff\xff\xff\x0f",
                b"\x72\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                b"\x72\x80\x80\x80\x80\x80\x00",
                b"\x72\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
                b"\x72\x03\xed\xa0\x80",
                b"\x72\x02\xc0\x80",
                b"\x72\x01\xff",
                b"\x7a\x01\xff",
                b"\x68\x02",
                b"\x68\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
                b"\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                b"\x80\x01\x80\x80\x80\x80\x10",
                b"\x0d\x00\x00\x80\x3f",
                b"\x08\x01",
                b"\x0b\x0c",
                b"\x70\x01",
                b"\xf2\x01\x00",
                b"\xf2\x01\x03\x0a\x01a",
                b"\xf2\x01\x09\x11" + bytes(7) + b"\x40",
                b"\xf2\x01\x0e\x0a\x01a\x11" + bytes(8) + b"\x18\x01",
                b"\xf2\x01\x06\x0a\x01a\x0a\x01b",
                b"\xf2\x01\x02\x08\x01",
                b"\xf2\x01\x03\x0a\x01\xff",
                b"\xa2\x01\x00",
                b"\xa2\x01\x01\x80",
                b"\xb2\x01\x07" + bytes(7),
                b"\xa9\x01" + bytes(8),
                b"\xc2\x02\x00\xca\x02\x00",
                b"\xd2\x02\x09\x09" + bytes(7) + b"\x40\xd2\x02\x09\x11" + bytes(7) + b"\x40",
                b"\xd2\x02\x09\x09" + bytes(7) + b"\x40\xc2\x02\x00\xd2\x02\x00",
                b"\x93\x01\x94\x01",
                b"\x93\x01\x9c\x01",
                b"\x93\x01",
                b"\x94\x01",
                b"\x93\x01\x08\x01\x94\x01",
                b"\x93\x01\x00\x00\x94\x01",
                b"\x93\x01\x06\x94\x01",
                b"\x8a\x01\x01\x93\x01\x94\x01",
                b"\x8a\x01\x02\x93\x01\x94\x01",
                b"\x09\x00\x00\x00\x00\x00\x00\x00\x80",
                b"\x15\x00\x00\x00\x80",
                b"\x15\x01\x00\x80\x7f",
                b"\x15\x01\x00\xc0\x7f",
                b"\x09\x01\x00\x00\x00\x00\x00\xf0\x7f",
            ]
        ]
        for depth in (98, 99, 100, 101, 200):
            cases.append(("Everything", within(NEXT, depth)))
            cases.append(("Everything", within(NEXT, depth - 1, b"\x8a\x01\x00")))
            cases.append(("Everything", b"\x93\x01" * depth + b"\x94\x01" * depth))
            cases.append(("Everything", within(NEXT, depth - 1, b"\x93\x01\x94\x01")))
            cases.append(("Everything", within(NEXT, depth - 1, b"\xf2\x01\x00")))
            cases.append(("Everything", within(NEXT, depth - 1, b"\xfa\x01\x02\x12\x00")))
        taken = sum(compare(report, kind, datagram) for kind, datagram in cases)
        return f"{len(cases)} chosen encodings, {taken} of them valid for both"

    return check


def main() -> None:
    report = Report("Protobuf", DEVIATIONS)
    report.run("messages", values(report))
    report.run("other forms", other_forms(report))
    report.run("merged", merged(report))
    report.run("read as another", mistaken(report))
    report.run("chosen encodings", chosen(report))
    report.run("damaged", damaged(report))
    report.end()


main()
