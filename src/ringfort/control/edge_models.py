"""What gateway hosts are told and ask for, and what customers send of their public names' certificates."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from ringfort.control.models import Answer, Form
from ringfort.gateway.edge.certificates import LARGEST

PublicName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*\.[a-z][a-z0-9-]*$", max_length=253)]


class EdgeServer(Answer):
    """One place where an application runs at the gateway's site."""

    name: str = Field(description="The place's, whatever instance has it.")
    address: IPv4Address | IPv6Address
    port: int
    leaving: bool = Field(description="Whether it gets no new visitors: it doesn't run what it is told, or not yet.")


class EdgeEndpoint(Answer):
    """A public name, and who answers to it."""

    name: str
    customer: str
    application: str
    tls: Literal["off", "platform", "certificate", "passthrough"]
    hsts: bool
    health: str = Field(description="The path that answers when an instance is well; empty: a connection is enough.")
    challenge_port: int = Field(description="With passthrough, where challenges of ACME go; 0 is nowhere.")
    certificate: str = Field(description="SHA-256 of the customer's own certificate; empty where there is none.")
    servers: list[EdgeServer]


class WantedEdge(Answer):
    """All that is public at a gateway host's site."""

    revision: str = Field(description="Another one if anything is different.")
    endpoints: list[EdgeEndpoint]


class PublicNameOwner(Answer):
    """Whose a public name is."""

    customer: str = Field(description="Empty for nobody's.")


class EdgeSigningForm(Form):
    """A request for a certificate."""

    csr: Annotated[str, StringConstraints(max_length=16_384)] = Field(description="PKCS #10, PEM.")


class EdgeCertificate(Answer):
    """A certificate of a public name."""

    chain: str = Field(description="PEM, leaf first.")
    serial: str
    expires: AwareDatetime


class PublicCertificateForm(Form):
    """A customer's own certificate for public names."""

    chain: Annotated[str, StringConstraints(max_length=LARGEST)] = Field(
        description="PEM: the certificate, and those between it and a root; the root too if it is your own."
    )
    key: Annotated[str, StringConstraints(max_length=LARGEST)] = Field(description="PEM, without a passphrase.")
    names: list[PublicName] = Field(
        default=[], max_length=100, description="For which of its names; all that it names without a wildcard."
    )


class PublicCertificate(Answer):
    """A certificate that is kept for a public name; its key is shown to nobody."""

    name: str
    digest: str = Field(description="SHA-256 of the certificate.")
    expires: AwareDatetime
    authority: str = Field(description="The root that it builds to.")
    private: bool = Field(description="Whether that root came along: visitors have to know it.")


class PublicCertificates(Answer):
    """A customer's own certificates, by public name."""

    certificates: list[PublicCertificate]
