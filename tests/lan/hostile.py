"""Sends packets that nobody should send to multicast DNS, from the interface with the given address.

Usage: hostile.py ADDRESS SEED COUNT INSTANCE
"""
import random
import socket
import struct
import sys

address, seed, count, instance = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].encode()
chance = random.Random(seed)
GROUP = ("224.0.0.251", 5353)
SERVICE = (b"_openclaw-gw", b"_tcp", b"local")


def name(*labels):
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record(owner, kind, data, cls=0x8001, ttl=120):
    return owner + struct.pack(">HHIH", kind, cls, ttl, len(data)) + data


def message(flags, questions=(), answers=(), counts=None):
    counts = counts or (len(questions), len(answers), 0, 0)
    return struct.pack(">HH4H", 0, flags, *counts) + b"".join(questions) + b"".join(answers)


service = name(*SERVICE)
labels = [b"Evil", b"\x1b[2J\x07\xff", b"a.b\\c", "\u202eevil".encode(), b"x" * 63]
instances = [name(label, *SERVICE) for label in labels]
host = name(b"evil", b"local")
ordinary = [message(0x8400, answers=[record(service, 12, one), record(one, 33, struct.pack(">HHH", 0, 0, port) + host),
                                     record(one, 16, b"\x02=x\x04flag\x05\xff=\xff\0\x06k=\x1b[mA\xff"),
                                     record(host, 1, bytes([0, 0, 0, 0])), record(host, 28, b"\0" * 15 + b"\1")])
            for one in instances for port in (0, 1, 65535)]
ordinary += [
    # Somebody else's goodbye for the gateway, and his claims on its name.
    message(0x8400, answers=[record(service, 12, name(instance, *SERVICE), ttl=0)]),
    message(0x8400, answers=[record(name(instance, *SERVICE), 16, b"\x0drole=imposter"[:14])]),
    # Names in circles, labels and counts that lie, types and classes of no meaning.
    message(0x8400, answers=[b"\xc0\x0c" + struct.pack(">HHIH", 12, 1, 60, 2) + b"\xc0\x0c"]),
    message(0x8400, answers=[bytes([64]) + b"a" * 64 + b"\0"]),
    message(0x8400, [], [record(service, 12, instances[0])], (65535, 65535, 65535, 65535)),
    message(0x0000, [service + struct.pack(">HH", 255, 0x8001)] * 200),
    message(0x7bff, [service + struct.pack(">HH", 12, 1)]),
    message(0x8400, answers=[record(service, kind, b"\xff" * 9, cls) for kind in (0, 41, 47, 255, 65535) for cls in (0, 3, 65535)]),
    b"", b"\0" * 11, b"\xff" * 9000,
]


def varied(packet):
    data = bytearray(packet)
    for _ in range(chance.randrange(4)):
        if len(data) < 13:
            break
        at = chance.randrange(2, len(data))
        what = chance.randrange(4)
        if what == 0:
            data[at] = chance.randrange(256)
        elif what == 1:
            data[at:at + 2] = struct.pack(">H", 0xC000 | chance.randrange(len(data) + 4))
        elif what == 2:
            del data[at:]
        else:
            data += data[at:] * chance.randrange(8)
    return bytes(data[:8900])


sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
sock.bind((address, 5353))
for number in range(count):
    sock.sendto(varied(chance.choice(ordinary)), GROUP)
print("sent", count, flush=True)
