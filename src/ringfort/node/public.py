"""What a controller says is public, as a gateway host serves it: each name by itself, so that none spoils others. Pure.

Nothing that a controller says is taken as it is: what could not stand in a configuration is left out, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from ringfort.gateway.edge.model import Edge, Endpoint, Health, Inside, Server, TlsMode
from ringfort.node.gates import Gate

MOST_ENDPOINTS = 20_000


@dataclass(frozen=True, slots=True)
class Public:
    """What is public at a site.

    Attributes:
        revision: another one if anything is different.
        endpoints: without their certificates.
        own: public name -> digest of the customer's own certificate, of names that have one.
        refused: public name (or what stood in its place) -> why it can't be served.
    """

    revision: str
    endpoints: tuple[Endpoint, ...]
    own: Mapping[str, str]
    refused: Mapping[str, str]

    @property
    def platform(self) -> tuple[str, ...]:
        """Names that get a certificate of the platform's."""
        return tuple(one.name for one in self.endpoints if one.tls is TlsMode.PLATFORM)


def read(document: Any) -> Public:  # noqa: ANN401  # whatever JSON holds
    """What an answer of a controller says.

    Raises:
        ValueError: it is no such answer.
    """
    rows = document.get("endpoints") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not isinstance(document.get("revision"), str) or len(rows) > MOST_ENDPOINTS:
        raise ValueError("the controller's answer does not say what is public")
    endpoints: dict[str, Endpoint] = {}
    own: dict[str, str] = {}
    refused: dict[str, str] = {}
    for row in rows:
        try:
            endpoint = _endpoint(row, endpoints)
            endpoints[endpoint.name] = endpoint
            if endpoint.tls is TlsMode.CERTIFICATE and row["certificate"]:
                own[endpoint.name] = _digest(row["certificate"])
        except Exception as error:  # noqa: BLE001  # whatever stands there, the others are served
            refused[str(row.get("name"))[:253] if isinstance(row, dict) else "?"] = str(error)[:300]
    return Public(document["revision"], tuple(endpoints.values()), own, refused)


def _endpoint(row: dict[str, Any], others: Mapping[str, Endpoint]) -> Endpoint:
    if row["name"] in others:
        raise ValueError("it stands there twice")
    servers = tuple(
        Server(one["name"], ip_address(one["address"]), int(one["port"]), one["leaving"] is True)
        for one in row["servers"]
    )
    tls = TlsMode(row["tls"])
    return Endpoint(
        row["name"],
        row["customer"],
        row["application"],
        tls,
        servers,
        Health(row["health"]),
        hsts=row["hsts"] is True and tls is not TlsMode.OFF,
        challenge_port=int(row["challenge_port"]) if tls is TlsMode.PASSTHROUGH else 0,
    )


def _digest(value: str) -> str:
    if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ValueError("its certificate's digest is none")
    return value


def edge_of(public: Public, gate: Gate, inside: Inside, certificate: Callable[[str], str]) -> Edge:
    """What one gateway host serves; ``certificate`` gives the file of a name's, or "" while there is none."""
    return Edge(
        gate.addresses,
        tuple(_with(one, certificate(one.name)) for one in public.endpoints),
        plain_port=gate.plain_port or 80,
        tls_port=gate.tls_port,
        inside=inside,
    )


def _with(endpoint: Endpoint, certificate: str) -> Endpoint:
    return replace(endpoint, certificate=certificate) if certificate else endpoint
