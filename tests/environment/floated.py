"""A gateway of two hosts that share floating addresses, without its name: for tests and labs."""

from __future__ import annotations

from tests.environment.gatewayed import GATEWAYED


def floated(text: str = GATEWAYED) -> str:
    """The small environment with a gateway, with a second gateway host and an address that moves between the two."""
    for before, after in (
        ("  gate: {site: north, segment: edge, services: [gateway, gateway-plain]}",
         "  gate: {site: north, segment: edge, count: 2, services: [gateway, gateway-plain, gate-signs]}"),
        ("services:\n", (
         "floating:\n  gate-n: {hosts: [gate], addresses: [10.10.4.100], "
         "services: [gateway, gateway-plain], signs: gate-signs}\nservices:\n"
         "  gate-signs: {protocol: tcp, ports: [9112], tls: mutual}\n")),
        ("flows:\n", "flows:\n  - {from: gate-signs, to: gate-signs}\n"),
        ("{service: gateway, provider: north/alpha, address: 198.51.100.5}",
         "{service: gateway, provider: north/alpha, address: 198.51.100.5, host: gate-n}"),
        ("{service: gateway-plain, provider: north/alpha, address: 198.51.100.5}",
         "{service: gateway-plain, provider: north/alpha, address: 198.51.100.5, host: gate-n}"),
    ):  # fmt: skip
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


FLOATED = floated()
