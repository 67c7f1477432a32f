"""What a device holds before its first environment: everything is refused but the way to the controllers.

The same for every router and host, and for every switch: nothing is known yet but where the controllers are.
Connections to them pass wherever the device stands on the way, and their replies; a controller's own host takes them.
Nothing else passes, not even what belongs to a connection that was accepted before.
"""

from __future__ import annotations

from collections.abc import Iterable

from ringfort.environment.model import Address
from ringfort.network import nft, reasons
from ringfort.network.families import FAMILIES, Family
from ringfort.network.nft import Json
from ringfort.network.switch import FILTER
from ringfort.network.table import TableBuilder

_REPLY = nft.match(nft.ct("state"), "established", "in")


def closed_table(family: str, controllers: Iterable[tuple[Address, int]]) -> Json:
    """The document of a device; ``family`` is ``inet``, or ``bridge`` for a switch; controllers by address and port."""
    table = TableBuilder(family)
    places = sorted({(address.version, str(address), port) for address, port in controllers})
    names = {
        own.version: table.set(
            own.named("controllers"),
            (own.address_type, "inet_service"),
            [nft.concat(address, port) for version, address, port in places if version == own.version],
            comment="addresses and ports of the controllers",
        )
        for own in FAMILIES
        if any(version == own.version for version, _, _ in places)
    }
    if family == "bridge":
        _switch(table, names)
    else:
        _stateful(table, names)
    return table.document()


def _stateful(table: TableBuilder, names: dict[int, str]) -> None:
    for hook, meta, refusal in (
        ("input", "iifname", reasons.UNDECLARED),
        ("forward", "", reasons.UNDECLARED),
        ("output", "oifname", reasons.UNDECLARED_OUT),
    ):
        chain = table.base_chain(hook, hook, 0)
        if meta:
            table.rule(chain, nft.match(nft.meta(meta), "lo"), nft.ACCEPT)
        for family in _families(names):
            table.rule(chain, _towards(family, "d", names), nft.ACCEPT)
            table.rule(chain, _towards(family, "s", names), _REPLY, nft.ACCEPT)
        table.rule(chain, table.refuse(refusal))


def _switch(table: TableBuilder, names: dict[int, str]) -> None:
    """Frames have no connections, so a reply is what comes from a controller's port."""
    chain = table.base_chain("forward", "forward", FILTER)
    for family in _families(names):
        for end in ("d", "s"):
            table.rule(chain, _towards(family, end, names), nft.ACCEPT)
    table.rule(chain, table.refuse(reasons.UNDECLARED))
    for hook in ("input", "output"):
        table.rule(table.base_chain(hook, hook, FILTER), table.refuse(reasons.SWITCH_ITSELF))


def _families(names: dict[int, str]) -> Iterable[Family]:
    return (family for family in FAMILIES if family.version in names)


def _towards(family: Family, end: str, names: dict[int, str]) -> nft.Statement:
    key = nft.concat(nft.payload(family.header, f"{end}addr"), nft.payload("tcp", f"{end}port"))
    return nft.match(key, names[family.version])
