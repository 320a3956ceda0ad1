"""Somebody else on the network: python-zeroconf watches gateways, or is one.

    zeroconf_peer.py watch                      one JSON line per event: added, updated, removed
    zeroconf_peer.py publish NAME HOST PORT ADDRESS [KEY=VALUE...]
    zeroconf_peer.py claim ADDRESS              every name that somebody asks for is its own
    zeroconf_peer.py noise SEED ADDRESS TARGET  a thousand broken packets, half to the group, half to the target
"""

import json
import random
import socket
import struct
import sys
import time

from zeroconf import IPVersion, ServiceInfo, ServiceListener, Zeroconf, ServiceBrowser

TYPE = "_openclaw-gw._tcp.local."
GROUP = ("224.0.0.251", 5353)


def say(**line):
    print(json.dumps(line), flush=True)


class Watcher(ServiceListener):
    def resolve(self, event, zc, kind, name):
        info = zc.get_service_info(kind, name, timeout=3000)
        if info is None:
            say(event="unresolved", name=name)
            return
        text = {
            key.decode(): (value or b"").decode()
            for key, value in info.properties.items()
        }
        say(
            event=event,
            name=name.removesuffix("." + kind),
            host=info.server,
            port=info.port,
            addresses=sorted(info.parsed_scoped_addresses(IPVersion.All)),
            txt=text,
        )

    def add_service(self, zc, kind, name):
        self.resolve("added", zc, kind, name)

    def update_service(self, zc, kind, name):
        self.resolve("updated", zc, kind, name)

    def remove_service(self, zc, kind, name):
        say(event="removed", name=name.removesuffix("." + kind))


def open_socket(address):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("0.0.0.0", GROUP[1]))
    own = socket.inet_aton(address)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP[0]) + own)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
    return sock


def name_bytes(labels):
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def claim(address):
    """Answers every question for a single name, by hand: a host is here, an instance points here."""
    sock = open_socket(address)
    say(event="ready")
    while True:
        packet, _ = sock.recvfrom(9000)
        _, flags, questions, *_ = struct.unpack_from("!6H", packet)
        if flags & 0x8000:
            continue
        at, answers = 12, []
        for _ in range(questions):
            labels = []
            start = at
            while packet[at] and packet[at] < 0xC0:
                labels.append(packet[at + 1 : at + 1 + packet[at]])
                at += 1 + packet[at]
            if packet[at] >= 0xC0:  # the rest of the name stands elsewhere
                target = struct.unpack_from("!H", packet, at)[0] & 0x3FFF
                at += 2
                while packet[target]:
                    if packet[target] >= 0xC0:
                        target = struct.unpack_from("!H", packet, target)[0] & 0x3FFF
                        continue
                    labels.append(packet[target + 1 : target + 1 + packet[target]])
                    target += 1 + packet[target]
            else:
                at += 1
            at += 4
            name = name_bytes(labels)
            if len(labels) == 2:
                answers.append(name + struct.pack("!HHIH", 1, 0x8001, 120, 4) + socket.inet_aton(address))
            elif len(labels) == 4:
                target = struct.pack("!HHH", 0, 0, 1) + name_bytes([b"thief", b"local"])
                answers.append(name + struct.pack("!HHIH", 33, 0x8001, 120, len(target)) + target)
        if answers:
            header = struct.pack("!6H", 0, 0x8400, 0, len(answers), 0, 0)
            sock.sendto(header + b"".join(answers), GROUP)


def noise(seed, address, target):
    sock = open_socket(address)
    dice = random.Random(seed)
    kind = name_bytes(TYPE.rstrip(".").encode().split(b"."))
    say(event="ready")
    for number in range(1000):
        counts = [dice.choice([0, 1, 1, 2, 255, 65535]) for _ in range(4)]
        body = bytearray(kind + struct.pack("!HH", 12, 1) + b"\xc0\x0c" + dice.randbytes(dice.randrange(200)))
        for _ in range(dice.randrange(8)):
            body[dice.randrange(len(body))] = dice.choice([0, 0x3F, 0x40, 0xC0, 0xFF, dice.randrange(256)])
        packet = struct.pack("!6H", dice.randrange(65536), dice.choice([0, 0x8400, 0xFFFF]), *counts) + body
        packet = packet[: dice.choice([len(packet), dice.randrange(len(packet))])]
        sock.sendto(packet, GROUP if number % 2 else (target, GROUP[1]))
        time.sleep(0.002)
    say(event="done")


def main():
    if sys.argv[1] == "claim":
        claim(sys.argv[2])
    if sys.argv[1] == "noise":
        noise(int(sys.argv[2]), sys.argv[3], sys.argv[4])
        return
    zc = Zeroconf(ip_version=IPVersion.All)
    if sys.argv[1] == "watch":
        ServiceBrowser(zc, TYPE, Watcher())
    else:
        name, host, port, address, *pairs = sys.argv[2:]
        info = ServiceInfo(
            TYPE,
            f"{name}.{TYPE}",
            port=int(port),
            addresses=[socket.inet_aton(address)],
            server=f"{host}.local.",
            properties=dict(pair.split("=", 1) for pair in pairs),
        )
        zc.register_service(info)
    say(event="ready")
    while True:
        time.sleep(3600)


main()
