"""Random bytes through EasyNetwork's wrapping serializers and ours, each reading what the other
wrote.

    python wrappers.py PROGRAM [SEED]

PROGRAM is interop_wrappers. Damaged datagrams are read by both, who have to agree whether they
are valid, and if so what they say. The one difference is that Python's base64 leaves out what it
does not know and takes bits that mean nothing: what only EasyNetwork takes has to be such text.
"""

import base64
import binascii
import random
import subprocess
import sys

from easynetwork.exceptions import DeserializeError
from easynetwork.serializers.abc import AbstractPacketSerializer
from easynetwork.serializers.wrapper.base64 import Base64EncoderSerializer
from easynetwork.serializers.wrapper.compressor import ZlibCompressorSerializer

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
VALUES = 400
DAMAGED = 600
NAMES = [
    "url",
    "standard",
    "url-sum",
    "standard-sum",
    "url-key",
    "standard-key",
    "zlib",
    "url.zlib",
    "zlib.url-key",
    "url-key.zlib",
    "standard-sum.zlib.url",
]


class Raw(AbstractPacketSerializer):
    def serialize(self, packet):
        return packet

    def deserialize(self, data):
        return data


def theirs(name):
    outer, _, inner = name.partition(".")
    within = theirs(inner) if inner else Raw()
    if outer == "zlib":
        return ZlibCompressorSerializer(within)
    alphabet, _, checksum = outer.partition("-")
    return Base64EncoderSerializer(
        within,
        alphabet={"url": "urlsafe", "standard": "standard"}[alphabet],
        checksum={"": False, "sum": True, "key": KEY}[checksum],
    )


class Ours:
    def __init__(self, program):
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what, name, data):
        self.process.stdin.write(f"{what} {name} {data.hex()}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("FAILED  wrappers: the program ended")
        answer = answer.strip()
        return None if answer == "refused" else bytes.fromhex(answer)

    def serialize(self, name, packet):
        return self.ask("write", name, packet)

    def deserialize(self, name, datagram):
        return self.ask("read", name, datagram)


def packet(rng):
    match rng.randrange(4):
        case 0:
            return rng.randbytes(rng.randrange(8))
        case 1:
            return rng.randbytes(rng.randrange(2000))
        case 2:
            return bytes([rng.randrange(256)]) * rng.randrange(5000)
        case _:
            return b"".join(
                rng.choice([b"alpha ", b"beta ", b"\0\xff"]) for _ in range(rng.randrange(300))
            )


def damage(rng, datagram):
    datagram = bytearray(datagram)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        at = rng.randrange(len(datagram) + 1)
        match rng.randrange(4):
            case 0 if at < len(datagram):
                datagram[at] = rng.randrange(256)
            case 1 if at < len(datagram):
                datagram[at] ^= 1 << rng.randrange(8)
            case 2:
                del datagram[at:]
            case _:
                datagram[at:at] = rng.randbytes(rng.randrange(3))
    return bytes(datagram)


def read(serializer, datagram):
    try:
        return serializer.deserialize(datagram)
    except DeserializeError:
        return None


def strict(name, datagram):
    """Whether the base64 on the outside is the one that an encoder writes."""
    encode, decode = (
        (base64.urlsafe_b64encode, base64.urlsafe_b64decode)
        if name.startswith("url")
        else (base64.standard_b64encode, base64.standard_b64decode)
    )
    try:
        return encode(decode(datagram)) == datagram
    except (binascii.Error, ValueError):
        return False


def check(name, ours, rng):
    easynetwork = theirs(name)
    lenient = 0
    for _ in range(VALUES):
        value = packet(rng)
        written, written_here = easynetwork.serialize(value), ours.serialize(name, value)
        if "zlib" not in name and written != written_here:
            return f"other bytes for {value.hex()}: {written!r}, {written_here!r}"
        if easynetwork.deserialize(written_here) != value:
            return f"EasyNetwork reads something else for {value.hex()}"
        if ours.deserialize(name, written) != value:
            return f"Postbox reads something else for {value.hex()}"
    for _ in range(DAMAGED):
        datagram = damage(rng, easynetwork.serialize(packet(rng)[:200]))
        taken, taken_here = read(easynetwork, datagram), ours.deserialize(name, datagram)
        if taken == taken_here:
            continue
        if taken_here is None and not name.startswith("zlib") and not strict(name, datagram):
            lenient += 1
            continue
        return f"{datagram.hex()} is {taken!r} for EasyNetwork, {taken_here!r} for Postbox"
    print(
        f"ok      wrappers: {name}: {VALUES} values each way, {DAMAGED} damaged,"
        f" {lenient} of them lenient base64"
    )
    return None


def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    ours = Ours(sys.argv[1])
    failed = False
    for name in NAMES:
        reason = check(name, ours, random.Random(f"{seed} {name}"))
        if reason:
            print(f"FAILED  wrappers: {name} (seed {seed}): {reason}")
            failed = True
    ours.process.stdin.close()
    sys.exit(failed)


main()
