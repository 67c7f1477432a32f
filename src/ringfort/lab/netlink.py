"""Links, addresses, routes and neighbours of namespaces through rtnetlink; the one adapter that speaks pyroute2.

Connections stay open, one for each namespace, so that a change costs a message and not a process. Not for use inside a
running asyncio loop: pyroute2 runs its own.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeAlias

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ringfort.errors import RingfortError
from ringfort.kernel import settings
from ringfort.lab import netns
from ringfort.lab.differences import Address, Change, Seen, SeenLink, State, Step
from ringfort.lab.shapes import BridgePort, Forwarding, Link, Namespace, Neighbour, Route, Rule

_NUD_PERMANENT, _NUD_NOARP = 0x80, 0x40  # linux/neighbour.h
_IFA_F_NODAD = 0x02  # linux/if_addr.h
_IFF_UP = 1
_LOCAL_TABLE, _PROTOCOL_KERNEL, _PROTOCOL_STATIC = 255, 2, 4  # linux/rtnetlink.h
_BLACKHOLE, _SCOPE_NOWHERE = 6, 255
_ONLINK = 4  # RTNH_F_ONLINK
_CLONED = 0x200  # RTM_F_CLONED
_ABSENT = (errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL)
_LOOPBACK = 1
_FORWARDING = 3  # BR_STATE_FORWARDING, linux/if_bridge.h
_KERNEL_PRIORITIES = (0, 32766, 32767)  # local, main, default: ip-rule(8)

# pyroute2 has no types: an open connection, and one message of an answer.
Netlink: TypeAlias = Any
Message: TypeAlias = Any


class Connections:
    """Open rtnetlink connections, one for each namespace, the last used ones. Use as a context manager, or `close`."""

    LIMIT = 100
    """How many stay open. Each costs a few descriptors, and libnftables can't take those beyond 1023 (select(2))."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int | None, Netlink]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close them all; afterwards nothing of ours keeps a namespace alive."""
        for name in list(self._open):
            self._close(name)

    def _close(self, namespace: str) -> None:
        _, connection = self._open.pop(namespace)
        connection.close()

    def to(self, namespace: str) -> Netlink:
        """The connection to a namespace; a new one if the namespace was made anew."""
        inode = netns.identity(namespace)
        known, connection = self._open.get(namespace, (None, None))
        if connection is not None and known == inode:
            self._open[namespace] = self._open.pop(namespace)  # used last
            return connection
        if connection is not None:
            self._close(namespace)
        elif len(self._open) >= self.LIMIT:
            self._close(next(iter(self._open)))
        with netns.inside(namespace):
            connection = IPRoute()
        self._open[namespace] = (inode, connection)
        return connection


def belongs_to(connections: Connections, namespace: str, environment: str) -> bool:
    """Whether the namespace carries the mark of the environment (`ringfort.lab.netns.mark`)."""
    loopback = connections.to(namespace).get_links(_LOOPBACK)[0]
    return str(loopback.get_attr("IFLA_IFALIAS") or "") == netns.mark(environment)


def observe(connections: Connections, namespace: str) -> Seen:
    """A namespace as the kernel has it."""
    netlink = connections.to(namespace)
    found = list(netlink.get_links())
    names = {message["index"]: str(message.get_attr("IFLA_IFNAME")) for message in found}
    addresses = _addresses(netlink, names)
    links = {}
    for message in found:
        if message["index"] != _LOOPBACK:
            seen = _link(message, names, addresses)
            links[seen.link.name] = seen
    routes = frozenset(_routes(netlink, names))
    bridges = any(link.kind == "bridge" for link in links.values())
    forwarding = frozenset(_forwarding(netlink, names)) if bridges else frozenset()
    neighbours = frozenset(_neighbours(netlink, names))
    return Seen(links, routes, neighbours, forwarding, frozenset(_rules(netlink)))


def _link(message: Message, names: Mapping[int, str], addresses: Mapping[str, set[str]]) -> SeenLink:
    name = names[message["index"]]
    info = message.get_attr("IFLA_LINKINFO")
    master = message.get_attr("IFLA_MASTER")
    port = None
    if master is not None and info is not None:
        data = info.get_attr("IFLA_INFO_SLAVE_DATA")
        port = BridgePort(
            names.get(master, ""),
            isolated=bool(data.get_attr("IFLA_BRPORT_ISOLATED")),
            learning=bool(data.get_attr("IFLA_BRPORT_LEARNING")),
            flood=bool(data.get_attr("IFLA_BRPORT_UNICAST_FLOOD")),
        )
    link = Link(
        name,
        str(message.get_attr("IFLA_ADDRESS")),
        up=bool(message["flags"] & _IFF_UP),
        port=port,
        addresses=frozenset(addresses.get(name, ())),
    )
    kind = str(info.get_attr("IFLA_INFO_KIND")) if info is not None else ""
    return SeenLink(message["index"], kind, int(message.get_attr("IFLA_LINK") or 0), link)


def _addresses(netlink: Netlink, names: Mapping[int, str]) -> dict[str, set[str]]:
    addresses: dict[str, set[str]] = {}
    for message in netlink.get_addr():
        # IFA_LOCAL is the address itself; IPv6 only has IFA_ADDRESS.
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        addresses.setdefault(names[message["index"]], set()).add(f"{text}/{message['prefixlen']}")
    return addresses


def _routes(netlink: Netlink, names: Mapping[int, str]) -> Iterator[Route]:
    for family, everything in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - a destination
        for message in netlink.get_routes(family=family):
            table = message.get_attr("RTA_TABLE") or message["table"]
            if table == _LOCAL_TABLE or message["proto"] == _PROTOCOL_KERNEL or message["flags"] & _CLONED:
                continue
            destination = f"{message.get_attr('RTA_DST') or everything}/{message['dst_len']}"
            if message["type"] == _BLACKHOLE:
                yield Route(destination, table=table)
            else:
                interface = names.get(message.get_attr("RTA_OIF") or 0, "?")
                yield Route(destination, str(message.get_attr("RTA_GATEWAY") or ""), interface, table)


def _rules(netlink: Netlink) -> Iterator[Rule]:
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        for message in netlink.get_rules(family=family):
            priority = message.get_attr("FRA_PRIORITY") or 0
            if priority not in _KERNEL_PRIORITIES:
                table = message.get_attr("FRA_TABLE") or message["table"]
                mark = message.get_attr("FRA_FWMARK") or 0
                suppresses = message.get_attr("FRA_SUPPRESS_PREFIXLEN") == 0
                yield Rule(version, priority, table, mark, suppresses, str(message.get_attr("FRA_SRC") or ""))


def _neighbours(netlink: Netlink, names: Mapping[int, str]) -> Iterator[Neighbour]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in netlink.get_neighbours(family=family):
            if message["state"] & _NUD_PERMANENT:
                mac = str(message.get_attr("NDA_LLADDR"))
                yield Neighbour(str(message.get_attr("NDA_DST")), mac, names[message["ifindex"]])


def _forwarding(netlink: Netlink, names: Mapping[int, str]) -> Iterator[Forwarding]:
    for message in netlink.fdb("dump"):
        if message["state"] == _NUD_NOARP and message.get_attr("NDA_MASTER") is not None:
            yield Forwarding(str(message.get_attr("NDA_LLADDR")), names[message["ifindex"]])


class _Indexes:
    """Interface indexes by name, looked up once for each namespace."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._known: dict[str, dict[str, int]] = {}

    def of(self, namespace: str, interface: str) -> int:
        if namespace not in self._known:
            links = self._connections.to(namespace).get_links()
            self._known[namespace] = {str(link.get_attr("IFLA_IFNAME")): link["index"] for link in links}
        return self._known[namespace][interface]

    def forget(self) -> None:
        self._known.clear()


def apply(connections: Connections, changes: Iterable[Change]) -> None:
    """Do the changes, in the given order.

    Raises:
        RingfortError: the kernel refuses one; what was done before it stays, and the next ``up`` goes on from there.
    """
    indexes = _Indexes(connections)
    step = Step.REMOVE_LINK
    for change in changes:
        if change.step is not step:
            step = change.step
            if step in (Step.ADD_LINK, Step.STACK_LINK, Step.SET_LINK):
                indexes.forget()
        try:
            _apply(connections, indexes, change)
        except NetlinkError as error:
            if change.step in (Step.REMOVE, Step.REMOVE_LINK) and error.code in _ABSENT:
                continue  # gone with the link, or with the other end of its pair
            raise RingfortError("kernel-refused", f"the kernel refuses: {change}: {error}") from error


def _apply(connections: Connections, indexes: _Indexes, change: Change) -> None:
    netlink = connections.to(change.namespace)
    match change.item:
        case Link():
            _apply_link(netlink, indexes, change.namespace, change.step, change.item)
        case State(interface, up):
            netlink.link("set", index=indexes.of(change.namespace, interface), state="up" if up else "down")
        case _:
            _apply_entry(netlink, indexes, change)


def _apply_link(netlink: Netlink, indexes: _Indexes, namespace: str, step: Step, link: Link) -> None:
    if step is Step.REMOVE_LINK:
        for index in netlink.link_lookup(ifname=link.name):
            netlink.link("del", index=index)
    elif step is Step.STACK_LINK:
        below = indexes.of(namespace, link.over)
        mode = "private"  # nothing passes from it to the link below but over the wire
        netlink.link("add", ifname=link.name, kind="macvlan", link=below, macvlan_mode=mode, address=link.mac)
    elif step is Step.ADD_LINK and link.peer is None:
        netlink.link("add", ifname=link.name, kind="bridge", br_mcast_snooping=0, br_stp_state=0, br_forward_delay=0)
    elif step is Step.ADD_LINK:
        assert link.peer is not None
        with _opened(link.peer[0]) as target:
            netlink.link("add", ifname=link.name, kind="veth", peer={"ifname": link.peer[1], "net_ns_fd": target})
    else:
        _set_link(netlink, indexes, namespace, link)


def _set_link(netlink: Netlink, indexes: _Indexes, namespace: str, link: Link) -> None:
    index = indexes.of(namespace, link.name)
    wanted: dict[str, Any] = {}
    if link.mac:
        wanted["address"] = link.mac
    if link.port is not None:
        wanted["master"] = indexes.of(namespace, link.port.bridge)
    if wanted:
        netlink.link("set", index=index, **wanted)
    if link.port is not None:
        _set_port(netlink, index, link.port)


def _set_port(netlink: Netlink, index: int, port: BridgePort) -> None:
    flags = {"isolated": int(port.isolated), "learning": int(port.learning), "unicast_flood": int(port.flood)}
    netlink.brport("set", index=index, **flags)


def set_port(connections: Connections, namespace: str, link: Link) -> None:
    """Set how a link behaves as a port of its bridge, and nothing else."""
    assert link.port is not None
    netlink = connections.to(namespace)
    _set_port(netlink, netlink.link_lookup(ifname=link.name)[0], link.port)


def _apply_entry(netlink: Netlink, indexes: _Indexes, change: Change) -> None:
    adds = change.step is not Step.REMOVE
    interface = getattr(change.item, "interface", "")
    index = indexes.of(change.namespace, interface) if interface else 0
    match change.item:
        case Address(_, text):
            address, length = text.split("/")
            netlink.addr("add" if adds else "del", index=index, address=address, prefixlen=int(length), **_no_dad(text))
        case Route():
            netlink.route("add" if adds else "del", **_route(change.item, index, adds=adds))
        case Rule():
            netlink.rule("add" if adds else "del", **_rule(change.item))
        case Neighbour(text, mac, _):
            state = {"lladdr": mac, "state": _NUD_PERMANENT} if adds else {}
            netlink.neigh("replace" if adds else "del", dst=text, ifindex=index, **state)
        case Forwarding(mac, _):
            netlink.fdb("replace" if adds else "del", ifindex=index, lladdr=mac, state=_NUD_NOARP)


def _no_dad(address: str) -> dict[str, int]:
    return {"flags": _IFA_F_NODAD} if ":" in address else {}


def _route(route: Route, index: int, *, adds: bool) -> dict[str, Any]:
    family = socket.AF_INET6 if ":" in route.destination else socket.AF_INET
    fields: dict[str, Any] = {"dst": route.destination, "family": family, "table": route.table}
    # Whoever made a route and with whatever scope, it is removed.
    fields |= {"proto": _PROTOCOL_STATIC} if adds else {"proto": 0, "scope": _SCOPE_NOWHERE}
    if not route.interface:
        return fields | {"type": "blackhole"}
    if not route.via:
        return fields | {"oif": index}
    return fields | {"gateway": route.via, "oif": index, "flags": _ONLINK}


def _rule(rule: Rule) -> dict[str, Any]:
    family = socket.AF_INET if rule.version == 4 else socket.AF_INET6
    fields: dict[str, Any] = {"family": family, "priority": rule.priority, "table": rule.table}
    if rule.mark:
        fields["fwmark"] = rule.mark
    if rule.source:
        fields |= {"src": rule.source, "src_len": 32 if rule.version == 4 else 128}
    if rule.skips_default:
        fields["FRA_SUPPRESS_PREFIXLEN"] = 0
    return fields


@contextmanager
def _opened(namespace: str) -> Iterator[int]:
    descriptor = os.open(netns.path(namespace), os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def unready(connections: Connections, wanted: Namespace) -> list[str]:
    """The interfaces of a namespace that are planned to be up and don't carry packets yet.

    The kernel tells a bridge of a port's carrier a little after the fact (net/core/link_watch.c).
    """
    found = []
    for message in connections.to(wanted.name).get_links():
        name = str(message.get_attr("IFLA_IFNAME"))
        link = wanted.links.get(name)
        if link is None or not link.up or link.peer is None:
            continue
        info = message.get_attr("IFLA_LINKINFO")
        data = info.get_attr("IFLA_INFO_SLAVE_DATA") if link.port is not None and info is not None else None
        forwards = data is None or data.get_attr("IFLA_BRPORT_STATE") == _FORWARDING
        if message.get_attr("IFLA_OPERSTATE") != "UP" or not forwards:
            found.append(name)
    return found


def sysctl_differences(namespace: Namespace) -> list[tuple[str, str]]:
    """The sysctls of a namespace that don't have the wanted value; those this kernel doesn't have are left out."""
    with netns.inside(namespace.name):
        return [(key, value) for key, value in namespace.sysctls if settings.read(key) not in (value, None)]


def set_sysctls(namespace: str, values: Iterable[tuple[str, str]]) -> None:
    """Write sysctls of a namespace."""
    with netns.inside(namespace):
        for key, value in values:
            settings.write(key, value)
