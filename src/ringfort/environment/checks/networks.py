"""Networks: private inside, public outside, none over another, large enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from ringfort.environment.draft import Draft
from ringfort.environment.model import Network
from ringfort.environment.nodes import Place
from ringfort.environment.problems import listed
from ringfort.environment.special import NEVER_A_SOURCE, SPECIAL, bogons, is_private, overlap, within

_SMALLEST = {4: 30, 6: 126}
"""The longest prefix with an address besides the gateway's: IPv4 loses two others, IPv6 one (RFC 4291, 2.6.1)."""


@dataclass(frozen=True, slots=True)
class _Use:
    """A network, whose it is, and where it is written."""

    network: Network
    owner: str
    place: Place


def check_networks(draft: Draft) -> None:
    """Refuse overlaps, public networks inside, private ones outside, and networks that are too small."""
    blocks, backbone = list(_blocks(draft)), list(_backbone(draft))
    segments = [use for key in draft.segments for use in _segment_uses(draft, key)]
    providers = [use for key in draft.providers for use in _provider_uses(draft, key)]
    for use in (*blocks, *backbone):
        _refuse_public(draft, use)
    for use in providers:
        _refuse_inside(draft, use)
    for use in (*segments, *providers):
        _refuse_small(draft, use)
    _refuse_overlaps(draft, [*blocks, *backbone, *providers])
    _refuse_overlaps(draft, segments)
    _refuse_outside_blocks(draft)
    _refuse_second_networks(draft)
    _check_backbone(draft, backbone)
    _check_exceptions(draft, [*blocks, *backbone])


def _blocks(draft: Draft) -> Iterator[_Use]:
    for site in draft.sites.values():
        entry = draft.declaration.sites[site.name]
        for index, network in enumerate(site.blocks):
            yield _Use(network, f"block of site {site.name}", entry.at("blocks", index))


def _segment_uses(draft: Draft, key: str) -> Iterator[_Use]:
    for index, network in enumerate(draft.segments[key].networks):
        yield _Use(network, f"segment {key}", draft.segment_place(key, "networks", index))


def _provider_uses(draft: Draft, key: str) -> Iterator[_Use]:
    for index, network in enumerate(draft.providers[key].networks):
        yield _Use(network, f"provider {key}", draft.provider_place(key, "networks", index))


def _backbone(draft: Draft) -> Iterator[_Use]:
    form = draft.declaration.header.backbone
    for index, network in enumerate(form.networks if form else ()):
        yield _Use(network, "backbone", draft.declaration.at("backbone", "networks", index))


def _refuse_public(draft: Draft, use: _Use) -> None:
    if not is_private(use.network):
        draft.problems.add(
            "public-inside",
            use.place,
            f"{use.network}, {use.owner}, is not private",
            "what is inside lives in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or fc00::/7; publish services instead",
        )


def _refuse_inside(draft: Draft, use: _Use) -> None:
    if any(overlap(use.network, private) for private in bogons(()) if is_private(private)):
        draft.problems.add(
            "private-provider",
            use.place,
            f"{use.network}, {use.owner}, is private",
            "write the public network that the provider routes to the site",
        )
        return
    excepted = draft.declaration.header.internet.bogons_except
    special = [network for network in bogons(excepted) if overlap(use.network, network)]
    if special and draft.declaration.header_valid:
        draft.problems.add(
            "special-provider",
            use.place,
            f"{use.network}, {use.owner}, is in {special[0]}, which does not exist on the internet (RFC 6890)",
            "if it does on this environment's internet, add it to internet: {bogons-except: [...]}",
        )


def _refuse_small(draft: Draft, use: _Use) -> None:
    longest = _SMALLEST[use.network.version]
    if use.network.prefixlen > longest:
        draft.problems.add(
            "network-too-small",
            use.place,
            f"{use.network}, {use.owner}, has no room for a gateway and a host",
            f"a prefix has at most {longest} bits here",
        )


def _refuse_overlaps(draft: Draft, uses: Sequence[_Use]) -> None:
    """One sweep over the networks in the order of their addresses; each overlapping network is told once."""
    widest: _Use | None = None
    for use in sorted(uses, key=lambda u: (u.network.version, int(u.network.network_address), u.network.prefixlen)):
        if widest is not None and overlap(widest.network, use.network):
            early, late = sorted((widest, use), key=lambda u: (u.place.source.rank, u.place.line, u.place.column))
            draft.problems.add(
                "networks-overlap",
                late.place,
                f"{late.network}, {late.owner}, overlaps {early.network}, {early.owner}",
                f"the other one is at {early.place.origin}",
            )
        if widest is None or not overlap(widest.network, use.network):
            widest = use  # networks nest or are apart, so the widest of a nest comes first


def _refuse_outside_blocks(draft: Draft) -> None:
    for site in draft.sites.values():
        for use in (use for key in site.segments for use in _segment_uses(draft, key)):
            if not any(within(use.network, block) for block in site.blocks):
                draft.problems.add(
                    "segment-outside-blocks",
                    use.place,
                    f"{use.network}, {use.owner}, lies outside the blocks of site {site.name}",
                    f"the blocks are {listed(map(str, site.blocks))}",
                )


def _refuse_second_networks(draft: Draft) -> None:
    """A gateway has one address of each family, a host too."""
    groups: list[list[_Use]] = [list(_segment_uses(draft, key)) for key in draft.segments]
    groups += [list(_provider_uses(draft, key)) for key in draft.providers]
    groups.append(list(_backbone(draft)))
    for uses in groups:
        seen: set[int] = set()
        for use in uses:
            if use.network.version in seen:
                draft.problems.add(
                    "second-network",
                    use.place,
                    f"{use.network} is a second IPv{use.network.version} network of the same {use.owner.split()[0]}",
                    "write one of each family; make another one for the rest",
                )
            seen.add(use.network.version)


def _check_backbone(draft: Draft, backbone: Sequence[_Use]) -> None:
    sites = len(draft.declaration.sites) + len(draft.declaration.broken.get("sites", ()))
    if sites > 1 and not backbone and draft.declaration.header_valid:
        draft.problems.add(
            "backbone-missing",
            draft.declaration.at("sites"),
            f"{sites} sites and no backbone between their routers",
            'write backbone: {networks: [10.255.0.0/24, "fd00:ff::/64"]}',
        )
    for use in backbone:
        room = use.network.num_addresses - (2 if isinstance(use.network, IPv4Network) else 1)
        if room < sites:
            message = f"{use.network}, backbone, has room for {max(room, 0)} sites; there are {sites}"
            draft.problems.add("network-too-small", use.place, message, "write a shorter prefix")


def _check_exceptions(draft: Draft, inside: Sequence[_Use]) -> None:
    for index, network in enumerate(draft.declaration.header.internet.bogons_except):
        place = draft.declaration.at("internet", "bogons-except", index)
        impossible = next((other for other in NEVER_A_SOURCE if overlap(network, other)), None)
        own = next((use for use in inside if overlap(network, use.network)), None)
        if impossible is not None:
            message = f"{network} overlaps {impossible}, in which no machine of the internet can be"
            draft.problems.add("impossible-exception", place, message, "remove it")
        elif own is not None:
            message = f"{network} overlaps {own.network}, {own.owner}: what is inside never comes from the internet"
            draft.problems.add("internal-exception", place, message, f"the other one is at {own.place.origin}")
        elif not any(overlap(network, special) for special in SPECIAL):
            message = f"{network} is an ordinary network of the internet, so there is nothing to except"
            draft.problems.add("exception-without-effect", place, message, "remove it")
