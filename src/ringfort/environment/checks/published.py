"""Published services: edge hosts only, at an address of their site's provider, each address and port once."""

from __future__ import annotations

from ipaddress import IPv4Network

from ringfort.environment.draft import Draft
from ringfort.environment.forms import Entry
from ringfort.environment.model import Network, Protocol, PublishedService, Tier
from ringfort.environment.problems import listed
from ringfort.environment.schema import PublishedForm


def check_published(draft: Draft) -> None:
    """Refuse what must not or cannot be published."""
    called = {entry.form.to for entry in draft.declaration.flows if entry.form.from_ == "internet"}
    seen: dict[tuple[str, Protocol, int], Entry[PublishedForm]] = {}
    for published, entry in draft.published:
        _check_host(draft, published, entry)
        _check_address(draft, published, entry)
        if published.service not in called:
            draft.problems.add(
                "published-without-flow",
                entry.at("service"),
                f"no flow lets the internet call '{published.service}'",
                f"add the flow - {{from: internet, to: {published.service}}}, or remove this",
            )
        protocol = draft.services[published.service].protocol
        first = seen.setdefault((str(published.address), protocol, published.port), entry)
        if first is not entry:
            port = "" if protocol is Protocol.ICMP else f" port {published.port}"
            message = f"{published.address} {protocol}{port} is published twice"
            place = entry.at("port") if published.port else entry.at("address")
            draft.problems.add("published-twice", place, message, f"the first one is at {first.at().origin}")


def _check_host(draft: Draft, published: PublishedService, entry: Entry[PublishedForm]) -> None:
    host = draft.hosts[published.host]
    tier = draft.segments[host.segment].tier
    place = entry.at("host") if entry.form.host else entry.at()
    if tier is not Tier.EDGE:
        message = f"'{host.name}' is no edge host: its segment's tier is {tier}"
        draft.problems.add("published-beyond-edge", place, message, "publish a service of an edge host that calls it")
    if host.site != draft.providers[published.provider].site:
        own = listed(draft.sites[host.site].providers) or "none"
        message = f"'{host.name}' is at site {host.site}, provider {published.provider} is not"
        draft.problems.add("published-across-sites", entry.at("provider"), message, f"its site's providers: {own}")
    held = draft.floating[published.floating] if published.floating else host
    if published.address.version not in {address.version for address in held.addresses}:
        message = f"'{held.name}' has no IPv{published.address.version} address to translate {published.address} to"
        draft.problems.add("no-common-family", entry.at("address"), message, "publish it at an address of its family")


def _check_address(draft: Draft, published: PublishedService, entry: Entry[PublishedForm]) -> None:
    provider = draft.providers[published.provider]
    network = next((network for network in provider.networks if published.address in network), None)
    if network is None:
        message = f"{published.address} lies outside the networks of provider {provider.key}"
        hint = f"they are {listed(map(str, provider.networks))}"
        draft.problems.add("address-outside-provider", entry.at("address"), message, hint)
        return
    reason = _reserved(network, int(published.address) - int(network.network_address))
    if reason:
        message = f"{published.address} is {reason}"
        hint = f"free for services: from {network.network_address + 3} on"
        draft.problems.add("address-reserved", entry.at("address"), message, hint)


def _reserved(network: Network, number: int) -> str:
    if number == 0:
        return "the network's own address"
    if number in (1, 2):
        return "the address of the provider's router" if number == 1 else "the address of the site's router"
    broadcast = isinstance(network, IPv4Network) and number == network.num_addresses - 1
    return "the broadcast address" if broadcast else ""
