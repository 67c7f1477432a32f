"""A small router in network namespaces of its own, rules under test in it, and an observer on both sides of them.

    left --- eth0 \\           / eth1 --- right
                    [ router ]
    left --- lan0 /           \\ lan1 --- right

The observer is a table of its own that sees every packet before and after the rules under test and notes the packet's
identifier (IPv4 identification, IPv6 flow label) in sets. A bridge in the router joins br0 and br1 for the bridge
family.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ringfort.proof.fields import CtState, Universe
from tests.differential.nft import Namespace, Nft
from tests.differential.probes import UDP, Probe, Seen, frame

WAYS = ("eth0", "lan0", "eth1", "lan1")
"""The router's interfaces by `Probe.way`; the first two are on the left."""

MACS = {name: f"02:00:00:00:01:{i:02x}" for i, name in enumerate(WAYS)}
_NETLINK_NETFILTER = 12

LAST = 60_000
"""Identifiers from here on are not those of probes."""

LOCAL = {Universe.IP: "10.0.0.1", Universe.IP6: "fd00::1"}
ROUTES = {
    # prefix -> interface; the left is where sources come from.
    "10.1.0.0/16": "eth0",
    "10.2.0.0/16": "lan0",
    "10.3.0.0/16": "eth1",
    "10.4.0.0/16": "lan1",
    "fd01::/64": "eth0",
    "fd02::/64": "lan0",
    "fd03::/64": "eth1",
    "fd04::/64": "lan1",
}
STATES = {
    "invalid": CtState.INVALID,
    "established": CtState.ESTABLISHED,
    "related": CtState.RELATED,
    "new": CtState.NEW,
    "untracked": CtState.UNTRACKED,
}

_NOTE = "update @{0}4 {{ ip id }}\n    update @{0}6 {{ ip6 flowlabel }}"
_SETS = ("arrived", "passed", *STATES)


def _observer(family: str, first: str, last: Sequence[str], states: bool) -> str:
    lines = [f"table {family} observer {{"]
    for name in _SETS:
        for version, kind in (("4", "ip id"), ("6", "ip6 flowlabel")):
            lines.append(f"  set {name}{version} {{ typeof {kind}; size 65535; flags dynamic; }}")
    for version, kind in (("4", "ip id"), ("6", "ip6 flowlabel")):
        lines.append(f"  set loose{version} {{ typeof {kind}; }}")
        lines.append(f"  map marks{version} {{ typeof {kind} : meta mark; }}")
    marks = "meta mark set ip id map @marks4\n    meta mark set ip6 flowlabel map @marks6"
    loose = "\n    ip id @loose4 notrack\n    ip6 flowlabel @loose6 notrack" if states else ""
    if family == "inet":
        marks += loose
    lines.append(f"  chain first {{\n    {first}\n    {_NOTE.format('arrived')}\n    {marks}\n  }}")
    if family == "inet":
        # The router itself stays silent: what it sends could carry an identifier of a probe.
        lines.append("  chain quiet { type filter hook output priority -1000; policy drop; }")
    for i, hook in enumerate(last):
        lines.append(f"  chain last{i} {{\n    {hook}\n    {_NOTE.format('passed')}\n  }}")
    if states:
        notes = "\n    ".join(
            f"ct state {s} update @{s}{v} {{ {k} }}"
            for s in STATES
            for v, k in (("4", "ip id"), ("6", "ip6 flowlabel"))
        )
        hook = "type filter hook prerouting priority -180;"
        lines.append(f"  chain states {{\n    {hook}\n    {notes}\n  }}")
    return "\n".join([*lines, "}\n"])


# In the IP families the first look comes after defragmentation (-400), which may keep a fragment.
OBSERVERS = {
    "inet": ("type filter hook prerouting priority -390;", ["postrouting", "input"]),
    "bridge": ("type filter hook prerouting priority -1000;", ["forward"]),
    "netdev": ("type filter hook ingress device eth0 priority -1000;", ["ingress device eth0"]),
}


@dataclass(slots=True)
class Observation:
    """What became of the probes: identifiers by universe."""

    arrived: set[tuple[Universe, int]] = field(default_factory=set)
    passed: set[tuple[Universe, int]] = field(default_factory=set)
    states: dict[tuple[Universe, int], int] = field(default_factory=dict)


class Bench:
    """The router. Use as a context manager."""

    def __init__(self) -> None:
        self.names = [f"hc-{os.getpid()}-{part}" for part in ("router", "left", "right")]

    def __enter__(self) -> Self:
        for name in self.names:
            _ip("netns", "add", name)
        router, left, right = self.names
        self._links(router, left, right)
        self.namespaces = [Namespace(f"/run/netns/{name}") for name in self.names]
        self.nft = Nft(self.namespaces[0])
        self.sockets = [self._socket(self.namespaces[1 if i < 2 else 2], f"p{name}") for i, name in enumerate(WAYS)]
        self.bridge_socket = self._socket(self.namespaces[1], "pbr0")
        with self.namespaces[0]:
            self.conntrack = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        return self

    def __exit__(self, *error: object) -> None:
        for one in (*self.sockets, self.bridge_socket):
            one.close()
        self.conntrack.close()
        self.nft.close()
        for namespace in self.namespaces:
            namespace.close()
        for name in self.names:
            _ip("netns", "del", name)

    def _settings(self, router: str, left: str, right: str) -> None:
        settings = {
            "net.ipv4.ip_forward": "1",
            "net.ipv6.conf.all.forwarding": "1",
            "net.ipv4.conf.all.rp_filter": "0",
            "net.ipv4.conf.default.rp_filter": "0",
            "net.ipv4.icmp_ratelimit": "0",
        }
        for name in (router, left, right):
            _sysctl(name, {"net.ipv6.conf.default.accept_dad": "0", "net.ipv6.conf.all.accept_dad": "0"})
        _sysctl(router, settings)
        # Where the kernel would pass bridged packets through the IP hooks too, the bridge family shall be alone.
        for word in ("iptables", "ip6tables", "arptables"):
            if Path(f"/proc/sys/net/bridge/bridge-nf-call-{word}").exists():
                _sysctl(router, {f"net.bridge.bridge-nf-call-{word}": "0"})
        for name in (left, right):
            _sysctl(name, {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"})

    def _links(self, router: str, left: str, right: str) -> None:
        for i, name in enumerate(WAYS):
            peer = left if i < 2 else right
            _ip("-n", router, "link", "add", name, "address", MACS[name], "type", "veth", "peer", f"p{name}")
            _ip("-n", router, "link", "set", f"p{name}", "netns", peer)
        for name, peer in (("br0", left), ("br1", right)):
            _ip("-n", router, "link", "add", name, "type", "veth", "peer", f"p{name}")
            _ip("-n", router, "link", "set", f"p{name}", "netns", peer)
        _ip("-n", router, "link", "add", "bridge0", "type", "bridge", "mcast_snooping", "0")
        for name in ("br0", "br1"):
            _ip("-n", router, "link", "set", name, "master", "bridge0")
        self._settings(router, left, right)
        for name in ("lo", *WAYS, "br0", "br1", "bridge0"):
            _ip("-n", router, "link", "set", name, "up")
        for i, name in enumerate((*WAYS, "br0", "br1")):
            _ip("-n", left if i in (0, 1, 4) else right, "link", "set", f"p{name}", "up")
        for address in LOCAL.values():
            _ip("-n", router, "address", "add", address, "dev", "lo")
        self._routes(router)

    def _routes(self, router: str) -> None:
        for prefix, name in ROUTES.items():
            six = ":" in prefix
            gateway = f"fe80::{WAYS.index(name) + 1:x}" if six else f"192.0.2.{WAYS.index(name) + 1}"
            _ip(
                "-n",
                router,
                "neigh",
                "replace",
                gateway,
                "lladdr",
                "02:00:00:00:02:00",
                "dev",
                name,
                "nud",
                "permanent",
            )
            _ip("-n", router, "route", "add", prefix, "via", gateway, "dev", name, "onlink")

    def _socket(self, namespace: Namespace, device: str) -> socket.socket:
        with namespace:
            one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # 0: receives nothing
            one.bind((device, 0))
        return one

    # -- one experiment ----------------------------------------------------------------------------------------

    def load(self, rules: str, family: str, *, states: bool) -> dict[str, Any]:
        """Put rules under test, and an observer, in place of what was there; the ruleset as nft lists it.

        Raises:
            NftError: nft refuses the rules.
        """
        first, last = OBSERVERS[family]
        hooks = [f"type filter hook {hook} priority 1000;" for hook in last]
        self.nft.run("flush ruleset\n" + _observer(family, first, hooks, states) + rules)
        objects = self.nft.query("list ruleset")
        return {"nftables": [one for one in objects if not _of_observer(one)]}

    def mark(self, probes: Iterable[Probe], family: str) -> None:
        """Tell the observer which probes get a mark and which are not to be tracked."""
        lines = []
        for probe in probes:
            version = "4" if probe.universe is Universe.IP else "6"
            if probe.mark:
                lines.append(f"add element {family} observer marks{version} {{ {probe.ident} : {probe.mark} }}")
            if not probe.tracked:
                lines.append(f"add element {family} observer loose{version} {{ {probe.ident} }}")
        if lines:
            self.nft.run("\n".join(lines))

    def forget_connections(self) -> None:
        """Empty the connection table."""
        # IPCTNL_MSG_CT_DELETE of subsystem NFNL_SUBSYS_CTNETLINK without a tuple: all of them. NLM_F_REQUEST|NLM_F_ACK.
        self.conntrack.send(struct.pack("=LHHLLBBH", 20, 1 << 8 | 2, 5, 1, 0, 0, 0, 0))
        answer = self.conntrack.recv(4096)
        (error,) = struct.unpack_from("=i", answer, 16)
        if error not in (0, -errno.ENOENT):
            raise OSError(-error, "conntrack flush")

    def send(self, probes: Iterable[Probe], *, bridge: bool = False) -> None:
        """Send the probes."""
        for probe in probes:
            if bridge:
                self.bridge_socket.send(frame(probe, "02:00:00:00:03:00"))
            else:
                self.sockets[probe.way].send(frame(probe, MACS[WAYS[probe.way]]))

    def observe(self, probes: Sequence[Probe], family: str, *, states: bool) -> Observation:
        """Wait until the probes have arrived and read what became of them.

        One last packet behind the others on each interface tells when all have come; some never do (a fragment that
        waits for its siblings).
        """
        ways = sorted({probe.way for probe in probes})
        last = [Probe("10.1.0.250", "10.3.0.250", UDP, way=way, ident=LAST + way) for way in ways]
        self.send(last, bridge=family == "bridge")
        wanted = {(probe.universe, probe.ident) for probe in last}
        end = time.monotonic() + 5.0
        observation = Observation()
        while not wanted <= observation.arrived:
            observation.arrived = self._read("arrived", family)
            if time.monotonic() > end:
                raise TimeoutError("the last packets did not arrive")
        observation.passed = self._read("passed", family)
        if states:
            for name, value in STATES.items():
                observation.states.update(dict.fromkeys(self._read(name, family), value))
        return observation

    def _read(self, name: str, family: str) -> set[tuple[Universe, int]]:
        found = set()
        for version, universe in (("4", Universe.IP), ("6", Universe.IP6)):
            for one in self.nft.query(f"list set {family} observer {name}{version}"):
                found |= {(universe, int(element)) for element in one.get("set", {}).get("elem", [])}
        return found


def way_out(address: str) -> str:
    """The interface by which the router sends to ``address``; "" for one of its own."""
    if address in LOCAL.values():
        return ""
    for prefix, name in ROUTES.items():
        start = prefix.split("/")[0]
        shared = start.removesuffix("0.0") if "." in start else start.removesuffix("::") + ":"
        if address.startswith(shared):
            return name
    raise ValueError(address)


def seen(probe: Probe, state: int, oifname: str, status: int = 0) -> Seen:
    """What the kernel knows of a probe."""
    return Seen(WAYS[probe.way], oifname, state, status)


def _of_observer(item: dict[str, Any]) -> bool:
    return any("observer" in (content.get("table"), content.get("name")) for content in item.values())


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr}")


def _sysctl(namespace: str, settings: dict[str, str]) -> None:
    words = [f"{key}={value}" for key, value in settings.items()]
    subprocess.run(["ip", "netns", "exec", namespace, "sysctl", "-qw", *words], capture_output=True, check=True)


def dump(document: object) -> str:
    """A document to print with a failure."""
    return json.dumps(document)
