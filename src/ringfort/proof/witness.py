"""One packet of a set, chosen so that a person recognises it: usual addresses, ports and interfaces first."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from oxidd.bdd import BDDFunction

from ringfort.proof.fields import Field, Universe, name_value
from ringfort.proof.packets import Packet, PacketSet
from ringfort.proof.variables import Space
from ringfort.proof.words import value_text

_ADDRESSES = {
    # field -> usual values: networks for documentation first (RFC 5737, RFC 3849), then private ones.
    "saddr": ("192.0.2.10", "10.0.0.10", "192.168.1.10", "2001:db8::10", "fd00::10"),
    "daddr": ("198.51.100.20", "10.0.0.20", "192.168.1.20", "2001:db8:1::20", "fd00::20"),
}
_USUAL: dict[str, tuple[int, ...]] = {
    "transport header": (1,),
    "ct state": (8, 2),
    "l4proto": (6, 17, 1, 58),
    "ip6 nexthdr": (6, 17, 58),
    "ip frag-off": (0,),
    "dport": (443, 80, 22, 53, 8080),
    "sport": (40000,),
    "iiftype": (1,),
    "oiftype": (1,),
    "tcp flags": (2,),
    "ether saddr": (0x0200_0000_0001,),
    "ether daddr": (0x0200_0000_0002,),
    "arp operation": (1, 2),
    "arp saddr ether": (0x0200_0000_0001,),
    "ether type": (0x8847,),
    "iifname": tuple(name_value(n) for n in ("eth0", "eth1", "eth2", "lan0", "wan0", "other0", "lo")),
    "oifname": tuple(name_value(n) for n in ("eth1", "eth0", "eth2", "wan0", "lan0", "other0", "lo")),
}
_FIRST = (
    "transport header",
    "later fragment",
    "l4proto",
    "ct state",
    "ip frag-off",
    "dport",
    "daddr",
    "saddr",
    "iifname",
    "oifname",
)
"""Fields in the order in which their usual value matters most; the others follow."""

_ECHO_REQUEST = {1: 8 << 8, 58: 128 << 8}
"""Protocol -> usual first two bytes of its header: an ICMP echo request rather than a port."""


def witness(packets: PacketSet) -> Packet | None:
    """A packet of the set, or None if it is empty. Opaque variables are chosen too, but not told."""
    if not packets:
        return None
    space, left = packets.space, packets.function
    values: dict[str, int] = {}
    for field in _ordered(space):
        left, values[field.name] = _settle(space, left, field, _usual(field, values))
    cube = left.pick_cube()
    assert cube is not None
    known = {bit for field in _ordered(space) for bit in _bits(space, field)}
    other = {
        space.owner(number): bool(value)
        for number, value in enumerate(cube)
        if number >= space.opaque_count and space.owner(number) not in known
    }
    return Packet(space.universe, values, other)


def _ordered(space: Space) -> list[Field]:
    own = {field.name: field for field in space.main_fields}
    return [own[name] for name in _FIRST if name in own] + [f for name, f in own.items() if name not in _FIRST]


def _bits(space: Space, field: Field) -> Iterator[tuple[str, int]]:
    for i in range(field.width):
        yield space.place(field.region, field.offset + i)


def _usual(field: Field, values: dict[str, int]) -> tuple[int, ...]:
    if field.name in _ADDRESSES and field.width in (32, 128):
        version = 4 if field.width == 32 else 6
        addresses = (ip_address(text) for text in _ADDRESSES[field.name])
        return tuple(int(address) for address in addresses if address.version == version)
    if field.name == "sport" and values.get("l4proto") in _ECHO_REQUEST:
        return (_ECHO_REQUEST[values["l4proto"]],)
    if field.name == "dport" and values.get("l4proto") in _ECHO_REQUEST:
        return (0,)
    return _USUAL.get(field.name, (0,))


def _settle(space: Space, left: BDDFunction, field: Field, usual: tuple[int, ...]) -> tuple[BDDFunction, int]:
    """Choose the value of one field: the first usual one that is possible, else as near to the first as can be."""
    vector = space.vector(field)
    for value in usual:
        chosen = left & space.between(vector, value, value)
        if chosen.satisfiable():
            return chosen, value
    result = 0
    for i, bit in enumerate(vector):
        wanted = bool(usual[0] >> (field.width - 1 - i) & 1)
        chosen = left & (bit if wanted else ~bit)
        if not chosen.satisfiable():
            wanted, chosen = not wanted, left & (~bit if wanted else bit)
        left, result = chosen, result << 1 | wanted
    return left, result


def packet_text(packet: Packet, space: Space, about: PacketSet | None = None, domain: PacketSet | None = None) -> str:
    """A packet in one line: addresses, protocol and ports; details where they are unusual.

    With ``about``, also the details on which membership in that set depends, within ``domain`` (all packets that can
    exist, or were asked about).
    """
    values = packet.values
    words = [_endpoints(packet, space)]
    told = {"saddr", "daddr", "sport", "dport", "l4proto", "transport header", "later fragment", "ip6 nexthdr"}
    if values.get("transport header") == 0 and packet.universe in (Universe.IP, Universe.IP6):
        words.append("cut short before the transport header")
    if values.get("later fragment") == 1:
        words.append("a later fragment")
    for field in space.main_fields:
        usual = _USUAL.get(field.name, (0,))[0]
        if field.name in told or field.name not in values:
            continue
        if values[field.name] != usual or _matters(field, about, domain):
            words.append(f"{field.name} {value_text(field, values[field.name])}")
    words += _others(packet, about, domain)
    return ", ".join(words)


def _matters(field: Field, about: PacketSet | None, domain: PacketSet | None) -> bool:
    if about is None or not about.space.has(field):
        return False
    rest = about.forget(field)
    return (rest if domain is None else rest & domain) != about


def _endpoints(packet: Packet, space: Space) -> str:
    values = packet.values
    if "saddr" not in values:
        return f"ether type {values.get('ether type', 0):#06x}"
    source = value_text(space.fields["saddr"], values["saddr"])
    target = value_text(space.fields["daddr"], values["daddr"])
    if packet.universe is Universe.ARP:
        return f"arp {source} -> {target}"
    protocol = values["l4proto"]
    name = value_text(space.fields["l4proto"], protocol)
    if protocol in _ECHO_REQUEST:
        kind = space.fields["icmp type" if protocol == 1 else "icmpv6 type"] if _has_icmp(space, protocol) else None
        number = values["sport"] >> 8
        text = value_text(kind, number) if kind else str(number)
        return f"{name} {text} {source} -> {target}"
    if values.get("transport header") == 0 or protocol not in (6, 17, 33, 132, 136):
        return f"{name if not name.isdigit() else f'protocol {name}'} {source} -> {target}"
    if packet.universe is Universe.IP6:
        source, target = f"[{source}]", f"[{target}]"
    return f"{name} {source}:{values['sport']} -> {target}:{values['dport']}"


def _has_icmp(space: Space, protocol: int) -> bool:
    return ("icmp type" if protocol == 1 else "icmpv6 type") in space.fields


def _others(packet: Packet, about: PacketSet | None, domain: PacketSet | None) -> list[str]:
    regions: dict[str, list[tuple[int, bool]]] = {}
    for (region, offset), value in packet.other.items():
        regions.setdefault(region, []).append((offset, value))
    words = []
    for region, bits in regions.items():
        fields = [Field(region, offset, 1) for offset, _ in bits]
        if not any(_matters(field, about, domain) for field in fields):
            continue
        words.append(_region_text(region, sorted(bits)))
    return words


def _region_text(region: str, bits: list[tuple[int, bool]]) -> str:
    number = 0
    for _, value in bits:
        number = number << 1 | value
    width = bits[-1][0] - bits[0][0] + 1
    if region.startswith("fib "):
        kind = "fib_addrtype" if region.endswith("type") else "ifname"
        return f"{region} {value_text(Field(region, 0, width, region, kind), number)}"
    if region in ("nh", "th", "ll"):
        place = {"nh": "network", "th": "transport", "ll": "link"}[region]
        return f"{place} header bits {bits[0][0]}-{bits[-1][0]} = {number:#x}"
    return f"{region} {number}" if len(bits) > 1 else f"{region} {'yes' if number else 'no'}"
