"""What is public: endpoints of applications, their instances, certificates and limits.

Everything that ends up in a configuration is checked here, once: a value of these classes that exists is safe to write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from ringfort.environment.model import Address
from ringfort.errors import RingfortError

if TYPE_CHECKING:  # a node that applies these reads no documents, and stays light
    from pydantic import ConfigDict

LONGEST_NAME = 253
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PUBLIC_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.IGNORECASE)
_PATH = re.compile(r"/[A-Za-z0-9._~!&()*+,;=:@/%?-]{0,200}")
_FILE = re.compile(r"/[A-Za-z0-9._/@+-]{0,200}")
PORTS = range(1, 65536)

WRITTEN: ConfigDict = {
    "extra": "forbid",
    "alias_generator": lambda name: name.replace("_", "-"),
    "validate_by_name": False,
}
"""How these values are written in a file (`ringfort.gateway.edge.document`): as elsewhere, with hyphens."""


class EdgeError(RingfortError):
    """What can't be public as it stands, or an edge that doesn't do what it is told."""


class TlsMode(StrEnum):
    """Who encrypts between a visitor and the application."""

    OFF = "off"
    PLATFORM = "platform"
    """The edge, with a certificate that the platform gets and renews."""
    CERTIFICATE = "certificate"
    """The edge, with the customer's own certificate."""
    PASSTHROUGH = "passthrough"
    """The application: the edge reads the name that the visitor asks for, and nothing else."""


ENDED_HERE = frozenset({TlsMode.PLATFORM, TlsMode.CERTIFICATE})


def check_public_name(name: str) -> str:
    """The name itself, if it is one that a visitor can ask for: lower case, two labels or more, no address.

    Raises:
        EdgeError: it isn't.
    """
    if len(name) > LONGEST_NAME or not _PUBLIC_NAME.fullmatch(name) or name.rpartition(".")[2].isdigit():
        raise EdgeError(
            "edge-name", f"{name[:LONGEST_NAME]!r} is not a public name", "lower case, such as www.example.org"
        )
    return name


def _check(pattern: re.Pattern[str], what: str, value: str) -> None:
    if not pattern.fullmatch(value):
        raise EdgeError("edge-word", f"{value[:LONGEST_NAME]!r} can't be {what}")


def _check_port(port: int) -> None:
    if port not in PORTS:
        raise EdgeError("edge-port", f"{port} is not a port")


@dataclass(frozen=True, slots=True)
class Server:
    """One instance of an application, or the place of one: ``name`` stays when another instance takes it.

    ``leaving``: it gets no new visitors, and those who are there finish.
    """

    __pydantic_config__: ClassVar[ConfigDict] = WRITTEN
    name: str
    address: Address
    port: int
    leaving: bool = False

    def __post_init__(self) -> None:
        _check(_WORD, "the name of an instance", self.name)
        _check_port(self.port)

    @property
    def place(self) -> str:
        """Address and port as HAProxy writes them."""
        return f"ipv{self.address.version}@{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Health:
    """How the edge sees that an instance is well.

    Attributes:
        path: answers ``GET`` with a status from 200 to 399; "" asks for a connection only.
        seconds: between two questions.
        fall: bad answers until visitors go elsewhere; ``rise``: good ones until they come back.
    """

    __pydantic_config__: ClassVar[ConfigDict] = WRITTEN
    path: str = ""
    seconds: int = 2
    fall: int = 2
    rise: int = 1

    def __post_init__(self) -> None:
        if self.path:
            _check(_PATH, "the path of a health check", self.path)
        if min(self.seconds, self.fall, self.rise) < 1:
            raise EdgeError("edge-health", "a health check counts from 1")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One public name of an application.

    Attributes:
        certificate: file with key and chain, leaf first (PEM), for modes that end at the edge; "" while there is none,
            and then nobody is answered under TLS.
        hsts: tell browsers to come under TLS only, for a year.
        challenge_port: with passthrough, where the instances answer ACME's http-01 challenges; 0 is nowhere.
    """

    __pydantic_config__: ClassVar[ConfigDict] = WRITTEN
    name: str
    customer: str
    application: str
    tls: TlsMode
    servers: tuple[Server, ...]
    health: Health = Health()
    certificate: str = ""
    hsts: bool = False
    challenge_port: int = 0

    def __post_init__(self) -> None:
        check_public_name(self.name)
        _check(_WORD, "the name of a customer", self.customer)
        _check(_WORD, "the name of an application", self.application)
        names = [server.name for server in self.servers]
        if len(names) != len(set(names)):
            raise EdgeError("edge-instance-twice", f"{self.name} names an instance twice")
        if self.certificate:
            _check(_FILE, "the file of a certificate", self.certificate)
        if self.certificate and self.tls not in ENDED_HERE:
            raise EdgeError("edge-certificate", f"{self.name} has TLS {self.tls} and takes no certificate at the edge")
        if self.hsts and self.tls is TlsMode.OFF:
            raise EdgeError("edge-hsts", f"{self.name} can't ask browsers for TLS that it doesn't have")
        if self.challenge_port:
            _check_port(self.challenge_port)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one customer's visitors may do at once, on one edge host."""

    __pydantic_config__: ClassVar[ConfigDict] = WRITTEN
    connections: int = 2_000
    requests_per_second: int = 2_000

    def __post_init__(self) -> None:
        if min(self.connections, self.requests_per_second) < 1:
            raise EdgeError("edge-limits", "a limit is at least 1")


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """What one visitor may do: an IPv4 address, or an IPv6 network of 64 bits."""

    __pydantic_config__: ClassVar[ConfigDict] = WRITTEN
    connections: int = 200
    new_connections_per_10_seconds: int = 500

    def __post_init__(self) -> None:
        if min(self.connections, self.new_connections_per_10_seconds) < 1:
            raise EdgeError("edge-limits", "a limit is at least 1")


@dataclass(frozen=True, slots=True)
class Inside:
    """How the edge goes on to instances: by mutual TLS 1.3 of the platform's own, which they notice nothing of.

    Attributes:
        certificate: file with the key and chain that the edge shows (PEM).
        authorities: file with the roots that whoever answers has to build to; ``revoked``: with the lists of all
            authorities, or "".
    """

    __pydantic_config__: ClassVar[ConfigDict] = WRITTEN
    certificate: str
    authorities: str
    revoked: str = ""

    def __post_init__(self) -> None:
        for path in (self.certificate, self.authorities, *((self.revoked,) if self.revoked else ())):
            _check(_FILE, "a file of certificates", path)


@dataclass(frozen=True, slots=True)
class Edge:
    """What the edge hosts of one site serve; each of them the same.

    Attributes:
        addresses: where plain HTTP and TLS that ends here are served.
        passthrough: addresses of passthrough; those among ``addresses`` too are shared by the name that is asked for,
            at the cost of one more hop through HAProxy for everybody there. () is the same addresses.
        limits: of customers who have others than `Limits()`.
        alive_port: on loopback; where HAProxy says that it is well.
        inside: how it goes on to instances; None is in plain TCP.
    """

    __pydantic_config__: ClassVar[ConfigDict] = WRITTEN
    addresses: tuple[Address, ...]
    endpoints: tuple[Endpoint, ...]
    passthrough: tuple[Address, ...] = ()
    limits: Mapping[str, Limits] = field(default_factory=dict)
    per_source: SourceLimits = SourceLimits()
    plain_port: int = 80
    tls_port: int = 443
    alive_port: int = 8405
    connections: int = 8_000
    inside: Inside | None = None

    def __post_init__(self) -> None:
        names = [endpoint.name for endpoint in self.endpoints]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(names) != len(set(names)) else []
        if twice:
            raise EdgeError("edge-name-twice", f"{', '.join(twice)}: a public name belongs to one endpoint")
        for port in (self.plain_port, self.tls_port, self.alive_port):
            _check_port(port)

    def limits_of(self, customer: str) -> Limits:
        """What a customer's visitors may do at once."""
        return self.limits.get(customer, Limits())

    @property
    def passing(self) -> tuple[Endpoint, ...]:
        """Endpoints whose TLS ends in the application."""
        return tuple(one for one in self.endpoints if one.tls is TlsMode.PASSTHROUGH)

    @property
    def ended(self) -> tuple[Endpoint, ...]:
        """Endpoints whose TLS ends here and that have a certificate."""
        return tuple(one for one in self.endpoints if one.tls in ENDED_HERE and one.certificate)
