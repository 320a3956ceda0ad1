"""Somebody else on the network: python-zeroconf watches gateways, or is one.

    zeroconf_peer.py watch                      one JSON line per event: added, updated, removed
    zeroconf_peer.py publish NAME HOST PORT ADDRESS [KEY=VALUE...]
"""

import json
import socket
import sys
import time

from zeroconf import IPVersion, ServiceInfo, ServiceListener, Zeroconf, ServiceBrowser

TYPE = "_openclaw-gw._tcp.local."


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


def main():
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
