"""The wire of an instance: from its place's network namespace, where callers are checked, into its virtual machine.

The guest has no address of the environment. It is behind its place, on a network of two: what the place's enforcement
point hands on to an endpoint's port on the loopback goes into the guest, and what the guest may call goes out under the
place's address, to be judged by the place's sandbox. When table and tap are gone the place is as it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any

from ringfort.compute import bandwidth
from ringfort.compute.application import Application
from ringfort.compute.guest.netlink import Network
from ringfort.compute.sandbox import NO_MAC, Wire
from ringfort.compute.taps import open_tap
from ringfort.environment.topology import HOST_INTERFACE
from ringfort.errors import RingfortError
from ringfort.kernel import netns, nft, settings
from ringfort.kernel.netns import inside
from ringfort.node.hosting import TABLE
from ringfort.node.policy import digest

TAP = "guest"
OUTER, INNER = "192.0.0.1", "192.0.0.2"
"""Of 192.0.0.0/29, which is for such inner networks (RFC 7335) and never seen outside of one machine."""

OUTER_MAC, INNER_MAC = "02:00:c0:00:00:01", NO_MAC
"""A guest that is restored has the MAC address of the one that was written down, so all of them have that one."""

_TUNSETPERSIST = 0x400454CB  # linux/if_tun.h


def wire(namespace: str, application: Application) -> Wire:
    """The network card of the instance in a place."""
    network = Network((f"{INNER}/32",), (OUTER,), OUTER_MAC)
    return Wire(namespace, TAP, INNER_MAC, network, application.resources.bandwidth)


def table(application: Application) -> str:
    """The rules that stand in a place's namespace while this application is in it, for nft. Pure."""
    ports = sorted({port for one in application.endpoints for port in (one.port, one.challenge_port) if port})
    called = f"ip daddr 127.0.0.1 tcp dport {{ {', '.join(map(str, ports))} }} dnat ip to {INNER}" if ports else ""
    lines = [
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
        "chain prerouting { type filter hook prerouting priority raw; policy accept;",
        bandwidth.rule(TAP, application.resources.bandwidth),
        f'iifname "{TAP}" ether saddr {INNER_MAC} ip saddr {INNER} accept',
        f'iifname "{TAP}" counter drop',
        "}",
        "chain output { type nat hook output priority -100; policy accept;",
        called,
        "}",
        "chain postrouting { type nat hook postrouting priority srcnat; policy accept;",
        f'oifname "{TAP}" masquerade',
        f'ip saddr {INNER} oifname "{HOST_INTERFACE}" masquerade',
        "}",
        "chain input { type filter hook input priority filter; policy accept;",
        f'iifname "{TAP}" ct state established accept',
        f'iifname "{TAP}" counter drop',
        "}",
        "chain forward { type filter hook forward priority filter; policy drop;",
        "ct state established,related accept",
        *_egress(application),
        "counter",
        "}",
        "}",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _egress(application: Application) -> Iterator[str]:
    for allowed in application.egress:
        if isinstance(allowed.to, IPv4Network):  # the inner network has no IPv6
            ports = ", ".join(str(one) for one in allowed.ports)
            way = f'iifname "{TAP}" oifname "{HOST_INTERFACE}" ip daddr {allowed.to}'
            yield f"{way} {allowed.protocol} dport {{ {ports} }} accept"


def plug(namespace: str, application: Application) -> None:
    """Lay the wire and let it be used as the application declares. What was there of another one is replaced.

    Raises:
        RingfortError: the kernel refuses, or the namespace is gone.
    """
    lay_rules(namespace, application)
    try:
        _make_tap(namespace)
        with inside(namespace):
            for key, value in _settings(bool(application.egress)):
                settings.write(key, value)
        _configure(namespace)
    except OSError as error:
        raise RingfortError("kernel-refused", f"the wire into {namespace} can't be laid: {error}") from error


def lay_rules(namespace: str, application: Application) -> None:
    """Put the rules there, in place of whatever has their name.

    Raises:
        RingfortError: the kernel refuses, or the namespace is gone.
    """
    nft.run(namespace, table(application))


def rules(namespace: str) -> str:
    """A digest of the rules that are there: another one when anything but a counter has changed.

    Raises:
        RingfortError: the namespace is gone.
    """
    return digest({"nftables": [entry for entry in nft.ruleset(namespace)["nftables"] if _is_own(entry)]})


def _is_own(entry: Mapping[str, Any]) -> bool:
    return any(body.get("name" if kind == "table" else "table") == TABLE for kind, body in entry.items())


def unplug(namespace: str) -> None:
    """Take wire and rules away; harmless where there are none, and where the namespace is gone.

    Raises:
        RingfortError: the kernel refuses.
    """
    if not netns.is_namespace(namespace):
        return
    with inside(namespace):
        if settings.read("net.ipv4.ip_forward") == "1":
            settings.write("net.ipv4.ip_forward", "0")
    _remove_tap(namespace)
    nft.run(namespace, f"table inet {TABLE}\ndelete table inet {TABLE}\n")


def is_plugged(namespace: str) -> bool:
    """Whether something of a wire is there."""
    if not netns.is_namespace(namespace):
        return False
    with inside(namespace):
        return settings.read(f"net.ipv4.conf.{TAP}.route_localnet") is not None


def _settings(forwards: bool) -> Iterable[tuple[str, str]]:
    yield f"net.ipv6.conf.{TAP}.disable_ipv6", "1"
    yield f"net.ipv4.conf.{TAP}.route_localnet", "1"  # what comes from the loopback may leave here, and is translated
    yield "net.ipv4.ip_forward", "1" if forwards else "0"


def _make_tap(namespace: str) -> None:
    """The tap, which stays without whoever made it, so that it can be configured before a guest is on it."""
    descriptor = open_tap(namespace, TAP)
    try:
        with contextlib.suppress(OSError):
            fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
    finally:
        os.close(descriptor)


def _configure(namespace: str) -> None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with inside(namespace):
        connection = IPRoute()
    try:
        (index,) = connection.link_lookup(ifname=TAP)
        connection.link("set", index=index, address=OUTER_MAC, arp=False, state="up")
        connection.addr("replace", index=index, address=OUTER, prefixlen=30)
        connection.neigh("replace", dst=INNER, lladdr=INNER_MAC, ifindex=index, state=0x80)  # NUD_PERMANENT
    except (NetlinkError, ValueError) as error:
        raise RingfortError("kernel-refused", f"the tap in {namespace} can't be configured: {error}") from error
    finally:
        connection.close()


def _remove_tap(namespace: str) -> None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with inside(namespace):
        connection = IPRoute()
    try:
        for index in connection.link_lookup(ifname=TAP):
            connection.link("del", index=index)
    except NetlinkError as error:
        raise RingfortError("kernel-refused", f"the tap in {namespace} can't be removed: {error}") from error
    finally:
        connection.close()
