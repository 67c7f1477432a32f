"""The configuration of one host's enforcement point: HAProxy in front of the services that ask for TLS.

Each service is a frontend under TLS 1.3 on the host's addresses and the ports of the service; what is admitted goes to
the same port on loopback, where the service itself listens. Whoever is refused goes to a backend without servers, one
for each reason, so that HAProxy's own counters say why (HAProxy 2.6 configuration manual, sections 4.2, 5.1, 7.3.4).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Address, PortRange, Protocol, Tls
from ringfort.errors import RingfortError
from ringfort.gateway.material import Kind, Material
from ringfort.gateway.place import Place, check_paths

LOOPBACK = "127.0.0.1"
CONNECTIONS = 2_000
"""At once, of one host's enforcement point."""

NAMES, CALLER, ADDRESS = "certificate-names", "caller-not-allowed", "address-not-in-certificate"
HANDSHAKE = "handshake-failed"
"""No certificate, one of another authority, not valid now, revoked, or no TLS 1.3 at all: OpenSSL refuses."""

REFUSALS = (NAMES, CALLER, ADDRESS)

SHAKING_HANDS = 5
"""Seconds that a caller has to prove who it is, before another may have its place."""

CERTIFICATES, CALLERS = ".certificates", ".callers"
"""How the names of lists end."""

LUA = (Path(__file__).parent / "identity.lua").read_bytes()


@dataclass(frozen=True, slots=True)
class Guarded:
    """One service behind the enforcement point.

    Attributes:
        check: what it asks of its callers; TCP, and TLS ``server`` or ``mutual``.
        addresses: the host's, where it is reached.
        certificate: file with its key and its chain, leaf first (PEM).
    """

    check: IdentityCheck
    addresses: tuple[Address, ...]
    certificate: str


@dataclass(frozen=True, slots=True)
class Files(Place):
    """Where an enforcement point's files are: its directory, the trust bundle and, or "", the revocation lists.

    With lists, there has to be one of each authority, the root's too, and none out of date: OpenSSL refuses callers
    whose authority's list it doesn't have (``X509_V_FLAG_CRL_CHECK_ALL``).
    """

    directory: str
    bundle: str
    revoked: str
    account: str = ""

    def __post_init__(self) -> None:
        check_paths(self.directory, self.bundle, self.revoked, self.account)

    @property
    def lua(self) -> str:
        """The copy of `identity.lua` that is loaded."""
        return f"{self.directory}/identity.lua"

    def certificates(self, service: str) -> str:
        """The list that names a service's certificate."""
        return f"{self.directory}/{service}{CERTIFICATES}"

    def callers(self, service: str) -> str:
        """The list of a service's callers."""
        return f"{self.directory}/{service}{CALLERS}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What `render` makes: the text of each file by its path, the digest of it all, and the other files that HAProxy
    reads with them."""

    files: dict[str, str]
    digest: str
    material: tuple[Material, ...]


def render(guarded: Iterable[Guarded], files: Files) -> Configuration:
    """The enforcement point's files.

    The configuration names its own digest in an environment variable, so that a running process can be asked which
    configuration it has loaded.
    """
    services = sorted(guarded, key=lambda one: one.check.service)
    texts = {files.callers(g.check.service): _callers(g.check) for g in services if g.check.tls is Tls.MUTUAL}
    texts |= {files.certificates(one.check.service): certificate_list(one.certificate) for one in services}
    lines = [*_global(files), *(line for one in services for line in _service(one, files))]
    body = "\n".join(lines) + "\n"
    digest = digest_of(body, DIGEST_PLACE)
    texts[files.configuration] = body.replace(f'"{DIGEST_PLACE}"', f'"{digest}"', 1)
    texts[files.lua] = LUA.decode()
    return Configuration(texts, digest, tuple(_material(services, files)))


def _material(services: Iterable[Guarded], files: Files) -> Iterator[Material]:
    services = list(services)
    yield from (Material(Kind.CERTIFICATE, one.certificate) for one in services)
    mutual = any(one.check.tls is Tls.MUTUAL for one in services)
    if mutual:
        yield Material(Kind.AUTHORITIES, files.bundle)
    if mutual and files.revoked:
        yield Material(Kind.LISTS, files.revoked)


NAME = "service.invalid"
"""Clients don't ask for a name, so any would do; but it has to be there, see `certificate_list`."""


def certificate_list(certificate: str) -> str:
    """The list that a service's frontend reads its certificate from.

    It gives the certificate a name. HAProxy 2.6 prepares a certificate that is replaced in the running process once for
    each of its names: one without any, such as ours, would come back without ``verify required``.
    """
    return f"{certificate} {NAME}\n"


DIGEST_PLACE = "digest"


def digest_of(text: str, digest: str) -> str:
    """The digest that a configuration which names ``digest`` really has."""
    return hashlib.sha256(text.replace(f'"{digest}"', f'"{DIGEST_PLACE}"', 1).encode() + LUA).hexdigest()


CHECK_COMMENT = "# check: "
FILES_COMMENT = "# files: "
"""Before what the configuration was made from: `parse` makes it again from that and compares."""


def parse(text: str, callers: Mapping[str, frozenset[str]]) -> tuple[Guarded, ...]:
    """What a configuration enforces, if it is exactly what `render` makes of that.

    Args:
        text: of the configuration file.
        callers: by service, the list that the running process holds.

    Raises:
        RingfortError: it is anything else (``enforcement-changed``).
    """
    changed = RingfortError("enforcement-changed", "the enforcement point's configuration is not as it was written")
    found = []
    try:
        lines = [line.strip() for line in text.splitlines()]
        (described,) = (line.removeprefix(FILES_COMMENT) for line in lines if line.startswith(FILES_COMMENT))
        files = Files(**json.loads(described))
        for line in lines:
            if line.startswith(CHECK_COMMENT):
                value = json.loads(line.removeprefix(CHECK_COMMENT))
                check = check_from_json(value["check"], callers.get(value["check"]["service"], frozenset()))
                addresses = tuple(ip_address(address) for address in value["addresses"])
                found.append(Guarded(check, addresses, value["certificate"]))
    except (ValueError, KeyError, TypeError) as error:
        raise changed from error
    if render(found, files).files[files.configuration] != text:
        raise changed
    return tuple(found)


def _described(one: Guarded) -> dict[str, object]:
    return {
        "check": check_to_json(one.check, callers=False),
        "addresses": [str(address) for address in one.addresses],
        "certificate": one.certificate,
    }


def _callers(check: IdentityCheck) -> str:
    return "".join(f"{caller}\n" for caller in sorted(check.callers))


def _global(files: Files) -> Iterator[str]:
    yield "# Ringfort: enforcement point. Written anew whenever the declaration changes; changes by hand are lost."
    yield f"{FILES_COMMENT}{json.dumps(asdict(files), sort_keys=True)}"
    yield "global"
    yield f'    setenv RINGFORT_CONFIGURATION "{DIGEST_PLACE}"'
    yield f"    stats socket {files.socket} mode 600 level admin expose-fd listeners"
    yield "    stats timeout 1h"
    if files.account:
        yield f"    user {files.account}"
        yield f"    chroot {files.directory}  # where it may read nothing"
    yield f"    lua-load {files.lua}"
    yield "    nbthread 1"
    yield f"    maxconn {CONNECTIONS}"
    yield "    httpclient.ssl.verify none  # Lua may call nobody; this spares reading the system's 144 authorities"
    yield "    tune.ssl.cachesize 0  # every connection proves its key: nothing is resumed"
    yield "    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets"
    yield "    ssl-default-bind-ciphers DEFAULT:@SECLEVEL=3  # 128 bits for everything: keys, signatures, key exchange"
    yield ""
    yield "defaults"
    yield "    mode tcp"
    yield "    timeout connect 2s"
    yield f"    timeout client {SHAKING_HANDS}s"
    yield f"    timeout server {SHAKING_HANDS}s"
    yield "    timeout tunnel 10m  # instead of both, once the caller is admitted"
    yield "    timeout client-fin 10s"
    yield "    option clitcpka  # a peer that has gone is noticed"


def _service(one: Guarded, files: Files) -> Iterator[str]:
    name, mutual = one.check.service, one.check.tls is Tls.MUTUAL
    yield ""
    yield f"frontend {name}"
    yield f"    {CHECK_COMMENT}{json.dumps(_described(one), sort_keys=True)}"
    verify = ""
    if mutual:
        verify = f" ca-file {files.bundle} verify required" + (f" crl-file {files.revoked}" if files.revoked else "")
    for address in one.addresses:
        for ports in one.check.ports:
            yield f"    bind {_bound(address)}:{ports} transparent ssl crt-list {files.certificates(name)}{verify}"
    if mutual:
        yield "    tcp-request content set-var(txn.caller) lua.ringfort_caller"
        yield "    tcp-request content set-var(txn.home) lua.ringfort_at_home"
        yield f"    acl known var(txn.caller) -m str -f {files.callers(name)}"
        yield "    acl sound var(txn.caller) -m beg spiffe://"
        yield "    acl at-home var(txn.home) -m str yes"
        yield f"    use_backend {name}.{NAMES} unless sound"
        yield f"    use_backend {name}.{CALLER} unless known"
        yield f"    use_backend {name}.{ADDRESS} unless at-home"
    yield f"    default_backend {name}"
    yield ""
    yield f"backend {name}"
    yield f"    server service {LOOPBACK}"
    for reason in REFUSALS if mutual else ():
        yield ""
        yield f"backend {name}.{reason}"
        yield "    tcp-request content reject"


def _bound(address: Address) -> str:
    return f"ipv6@{address}" if address.version == 6 else f"ipv4@{address}"


def check_to_json(check: IdentityCheck, *, callers: bool = True) -> dict[str, object]:
    """A check as JSON; without its callers where they stand in a file of their own."""
    value: dict[str, object] = {
        "service": check.service,
        "protocol": str(check.protocol),
        "ports": [[ports.first, ports.last] for ports in check.ports],
        "tls": str(check.tls),
    }
    return value | {"callers": sorted(check.callers)} if callers else value


def check_from_json(value: dict[str, object], callers: Iterable[str]) -> IdentityCheck:
    """A check from its JSON and its callers."""
    ports = value["ports"]
    assert isinstance(ports, list)
    return IdentityCheck(
        str(value["service"]),
        Protocol(str(value["protocol"])),
        tuple(PortRange(first, last) for first, last in ports),
        Tls(str(value["tls"])),
        frozenset(callers),
    )
