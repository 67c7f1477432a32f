"""The address that moves between the edge hosts of a site: keepalived's configuration (VRRP 3, RFC 9568).

One host holds the addresses. When it, its keepalived or its HAProxy is gone, another takes them; it keeps them when the
first comes back, because every move costs the connections that stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ringfort.environment.model import Address
from ringfort.gateway.edge.model import EdgeError

ADVERTS_SECONDS = 0.5
"""Between two signs of life; after a little more than three of them another host takes over (RFC 9568, 6.1)."""

LISTEN_SECONDS = 2
"""How long a host that begins only listens: it can't know at once whether another holds the addresses."""

PRIORITIES = range(1, 255)
ROUTERS = range(1, 256)
_INTERFACE = re.compile(r"[A-Za-z0-9._-]{1,15}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,30}")
_FILE = re.compile(r"/[A-Za-z0-9._/-]{0,200}")

ALIVE = """#!/bin/bash
# Whether HAProxy serves: it has to answer, a socket that only stands open is not enough.
exec 3<>/dev/tcp/127.0.0.1/{port} || exit 1
printf 'GET /alive HTTP/1.0\\r\\n\\r\\n' >&3
read -r -t 1 line <&3
[[ $line == *" 200 "* ]]
"""


@dataclass(frozen=True, slots=True)
class Shared:
    """Addresses that one of several edge hosts holds, as one of them sees it.

    Attributes:
        name: of the site.
        router: 1 to 255; one for the addresses of a segment (the virtual router's identifier).
        own: this host's own address; ``others``: those of the other hosts. Signs of life go between these only.
        priority: 1 to 254; the highest takes the addresses when nobody has them.
        alive: the file of `alive`, to be run, or "": nothing but the host and its keepalived has to live;
            ``account``: who runs it.
        signs: the interface through which signs of life go, with ``own`` and ``others``; ``interface`` if empty.
    """

    name: str
    interface: str
    router: int
    addresses: tuple[Address, ...]
    own: Address
    others: tuple[Address, ...]
    priority: int
    alive: str
    account: str = "nobody"
    signs: str = ""

    def __post_init__(self) -> None:
        for pattern, value in (
            (_WORD, self.name),
            (_INTERFACE, self.interface),
            (_INTERFACE, self.signs or self.interface),
            (_FILE, self.alive or "/"),
            (_WORD, self.account),
        ):
            if not pattern.fullmatch(value):
                raise EdgeError("edge-word", f"{value[:200]!r} can't stand in keepalived's configuration")
        if self.router not in ROUTERS or self.priority not in PRIORITIES:
            raise EdgeError("edge-shared", "a virtual router has a number from 1 to 255 and a priority from 1 to 254")
        if not self.addresses or not self.others:
            raise EdgeError("edge-shared", f"{self.name}: an address that moves needs somewhere to move to")
        if {other.version for other in self.others} != {self.own.version}:
            raise EdgeError("edge-shared", f"{self.name}: the hosts speak with each other by one family of addresses")
        if self.own.version not in {address.version for address in self.addresses}:
            raise EdgeError("edge-shared", f"{self.name}: one of the addresses is of the hosts' own family")


def alive(port: int) -> str:
    """The program that says whether HAProxy serves; keepalived runs it every second."""
    return ALIVE.format(port=port)


def render(shared: Shared) -> str:
    """The configuration of one edge host's keepalived."""
    return "\n".join(_lines(shared)) + "\n"


def _lines(shared: Shared) -> Iterator[str]:
    yield "# Ringfort: the edge's addresses. Written anew whenever they change; changes by hand are lost."
    yield "global_defs {"
    yield f"    router_id {shared.name}"
    yield "    vrrp_version 3"
    yield f"    script_user {shared.account}"
    yield "    enable_script_security"
    yield "    vrrp_garp_master_refresh 60"
    yield f"    vrrp_startup_delay {LISTEN_SECONDS}"
    yield "}"
    if shared.alive:
        yield "vrrp_script haproxy {"
        yield f'    script "{shared.alive}"'
        yield "    interval 1"
        yield "    timeout 2"
        yield "    fall 2"
        yield "    rise 2"
        yield "}"
    yield from _instance(shared)


def _instance(shared: Shared) -> Iterator[str]:
    here = [address for address in shared.addresses if address.version == shared.own.version]
    along = [address for address in shared.addresses if address.version != shared.own.version]
    yield f"vrrp_instance {shared.name} {{"
    yield "    state BACKUP"
    yield "    nopreempt"
    yield f"    interface {shared.signs or shared.interface}"
    yield f"    virtual_router_id {shared.router}"
    yield f"    priority {shared.priority}"
    yield f"    advert_int {ADVERTS_SECONDS}"
    yield f"    unicast_src_ip {shared.own}"
    yield "    unicast_peer {"
    yield from (f"        {peer}" for peer in shared.others)
    yield "    }"
    # RFC 9568, 5.2.9: of one family; the others come along
    for word, addresses in (("virtual_ipaddress", here), ("virtual_ipaddress_excluded", along)):
        if addresses:
            yield f"    {word} {{"
            yield from (f"        {one}/{one.max_prefixlen} dev {shared.interface}" for one in addresses)
            yield "    }"
    if shared.alive:
        yield "    track_script {"
        yield "        haproxy"
        yield "    }"
    yield "}"
