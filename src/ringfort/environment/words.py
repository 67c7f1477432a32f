"""The smallest pieces of the form: names, addresses, networks, ports. Text goes in once and comes out as a value.

Each is an annotated type for the models in `schema`: a parser with messages of its own, and its JSON Schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, NoReturn

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from ringfort.environment import limits
from ringfort.environment.model import Address, Network, PortRange
from ringfort.environment.nodes import Ambiguous
from ringfort.environment.problems import shown

NAME_PATTERN = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAME = re.compile(NAME_PATTERN)
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)*")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_SPIFFE_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_PORTS = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_SOURCE_KINDS = ("service", "segment", "host", "group", "customer")


def refuse(code: str, message: str, hint: str = "") -> NoReturn:
    """Refuse a value: pydantic carries code, message and hint to `forms`, which adds the place."""
    # the template takes its text from the context, so that braces in a value stay what they are
    raise PydanticCustomError("ringfort", "{message}", {"code": code, "message": message, "hint": hint})


def text(value: object, wanted: str = "text") -> str:
    """The value as text that no YAML reader could take for anything else."""
    if isinstance(value, str):
        return value
    if value is None:
        refuse("empty-value", f"nothing is written where {wanted} is wanted", "write a value or remove the key")
    if isinstance(value, bool | int):
        refuse("ambiguous-text", f"'{value}' is a number where {wanted} is wanted", _quotes(str(value)))
    if isinstance(value, Ambiguous):
        refuse("ambiguous-text", f"{shown(value.text)}: YAML readers take it for {value.kind}", _quotes(value.text))
    if isinstance(value, dict):
        refuse("wrong-form", f"a mapping stands where {wanted} is wanted", _mapping_hint(value))
    refuse("wrong-form", f"a list stands where {wanted} is wanted", "write one value, without brackets")


def _quotes(written: str) -> str:
    return f'write "{written}", in quotes, if it is meant as text' if len(written) < 60 else "put it in quotes"


def _mapping_hint(value: dict[Any, Any]) -> str:
    key = next(iter(value), "")
    if ":" in str(key) or (isinstance(key, str) and key and value[key] is None):
        return "put IPv6 addresses and networks, and text that ends in a colon, in quotes"
    return "write one value; look for a colon that should not be there"


def whole(minimum: int, maximum: int) -> Callable[[object], int]:
    """A parser of whole numbers between two bounds, both included."""

    def parse(value: object) -> int:
        if isinstance(value, Ambiguous):
            hint = "write it in decimal digits only, like 1000"
            refuse("not-a-number", f"{shown(value.text)} is not a whole number: it is {value.kind}", hint)
        if not isinstance(value, int):
            written = shown(value) if isinstance(value, str) else "this"
            refuse("not-a-number", f"{written} is not a whole number", f"write a number from {minimum} to {maximum}")
        if not minimum <= value <= maximum:
            refuse("number-out-of-range", f"{value} is not between {minimum} and {maximum}", "")
        return value

    return parse


def parse_name(value: object) -> str:
    """A name: a DNS label in lower case that starts with a letter (RFC 1035, 2.3.1)."""
    name = text(value, "a name")
    if _NAME.fullmatch(name):
        return name
    if len(name) > limits.NAME:
        refuse("name-too-long", f"{shown(name)} has {len(name)} characters", f"a name has at most {limits.NAME}")
    better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    hint = f"write '{better}'" if _NAME.fullmatch(better) else "for example 'web-1'"
    refuse(
        "not-a-name",
        f"{shown(name)} is not a name: lower-case letters, digits and hyphens, first a letter, last no hyphen",
        hint,
    )


def parse_key(value: object) -> str:
    """``site/name``."""
    key = text(value, "SITE/NAME")
    site, slash, name = key.partition("/")
    if not slash:
        refuse("not-a-key", f"{shown(key)} does not say which site", f"write 'SITE/{site}'")
    return f"{parse_name(site)}/{parse_name(name)}"


def parse_manageable(value: object) -> str:
    """The name of a router, or the key of a segment for its switch."""
    return parse_key(value) if "/" in text(value, "a router or SITE/NAME") else parse_name(value)


def parse_source(value: object) -> str:
    """The source of a flow: ``internet``, a service's name, or ``KIND:NAME``."""
    source = text(value, "a source")
    kind, colon, name = source.partition(":")
    if not colon:
        return parse_name(source)
    if kind not in _SOURCE_KINDS:
        refuse(
            "unknown-source",
            f"{shown(kind)} is no kind of source",
            "write internet, SERVICE, segment:SITE/NAME, host:NAME, group:NAME or customer:NAME",
        )
    return f"{kind}:{parse_key(name) if kind == 'segment' else parse_name(name)}"


def parse_address(value: object) -> Address:
    """An IPv4 or IPv6 address, without a zone."""
    written = text(value, "an address")
    try:
        address = ip_address(written)
    except ValueError:
        hint = "an address has no '/'" if "/" in written else 'write it like 10.10.1.5 or "fd00:10::5"'
        refuse("not-an-address", f"{shown(written)} is not an IP address", hint)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        refuse("not-an-address", f"{shown(written)} has a zone", f"write '{str(address).partition('%')[0]}'")
    return address


def parse_network(value: object) -> Network:
    """An IPv4 or IPv6 network in CIDR notation (RFC 4632, 3.1); no bit may be set outside its prefix."""
    written = text(value, "a network")
    address, slash, length = written.partition("/")
    if not slash:
        refuse("not-a-network", f"{shown(written)} is not a network", "add the length of its prefix, like '/24'")
    if not re.fullmatch("0|[1-9][0-9]{0,2}", length) or "%" in address:
        refuse("not-a-network", f"{shown(written)} is not a network", 'write it like 10.10.1.0/24 or "fd00:10::/64"')
    try:
        return ip_network(written)
    except ValueError:
        pass
    try:
        meant = ip_network(written, strict=False)
    except ValueError:
        refuse("not-a-network", f"{shown(written)} is not a network", 'write it like 10.10.1.0/24 or "fd00:10::/64"')
    refuse("not-a-network", f"{shown(written)} names an address inside of a network", f"write '{meant}'")


def parse_ports(value: object) -> PortRange:
    """A port, or an inclusive range of them ``FIRST-LAST``."""
    if isinstance(value, Ambiguous):
        hint = f'a range has a hyphen: "{value.text.replace(":", "-")}"' if ":" in value.text else "write digits only"
        refuse("not-a-port", f"{shown(value.text)} is not a port: YAML readers take it for {value.kind}", hint)
    written = str(value) if isinstance(value, int) else text(value, "a port")
    match = _PORTS.fullmatch(written)
    if not match:
        refuse("not-a-port", f"{shown(written)} is neither a port nor a range", 'write 443, or "6514-6520"')
    first, last = int(match[1]), int(match[2] or match[1])
    if not (1 <= first <= 65535 and 1 <= last <= 65535):
        refuse("port-out-of-range", f"{shown(written)}: ports are numbers from 1 to 65535", "")
    if first > last:
        refuse("range-reversed", f"the range {shown(written)} ends before it begins", f'write "{last}-{first}"')
    return PortRange(first, last)


def parse_mac(value: object) -> str:
    """A unicast MAC address, in lower case."""
    mac = text(value, "a MAC address").lower().replace("-", ":")
    if not _MAC.fullmatch(mac):
        refuse("not-a-mac", f"{shown(mac)} is not a MAC address", 'write it like "02:00:00:12:34:56"')
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        # IEEE 802-2014, 8.2.2: the lowest bit of the first octet marks group addresses
        refuse("mac-not-unicast", f"{shown(mac)} is not the address of one machine", "its second digit must be even")
    return mac


def parse_trust_domain(value: object) -> str:
    """A SPIFFE trust domain, here a DNS name in lower case (SPIFFE-ID, 2.1)."""
    domain = text(value, "a trust domain")
    if len(domain) > 253 or not _DOMAIN.fullmatch(domain):
        refuse("not-a-trust-domain", f"{shown(domain)} is not a trust domain", "write it like 'shop.example'")
    return domain


def parse_identity(value: object) -> str:
    """A service's SPIFFE ID, ``spiffe://TRUST-DOMAIN/service/NAME`` (SPIFFE-ID, 2)."""
    identity = text(value, "an identity")
    scheme, separator, rest = identity.partition("://")
    hint = "write it like spiffe://shop.example/service/payments"
    if scheme != "spiffe" or not separator:
        refuse("not-an-identity", f"{shown(identity)} is not a SPIFFE ID", hint)
    domain, *path = rest.split("/")
    if len(identity) > 2048 or not _DOMAIN.fullmatch(domain) or len(domain) > 253:
        refuse("not-an-identity", f"{shown(identity)} is not a SPIFFE ID: its trust domain is not valid", hint)
    if not path or any(part in (".", "..") or not _SPIFFE_SEGMENT.fullmatch(part) for part in path):
        refuse("not-an-identity", f"{shown(identity)} is not a SPIFFE ID: its path is not valid", hint)
    if len(path) != 2 or path[0] != "service":
        refuse("not-an-identity", f"{shown(identity)} is not a service's: its path is not service/NAME", hint)
    return identity


def parse_words(value: object) -> str:
    """Free text in one line, at most 200 characters."""
    words = text(value)
    if len(words) > 200:
        refuse("text-too-long", f"the text has {len(words)} characters", "200 are allowed")
    if not words.isprintable():
        refuse("text-not-printable", "the text has line breaks or control characters", "write it in one line")
    return words


def parse_label(value: object) -> str:
    """A label's value: letters, digits and ``._-``, at most 63."""
    label = text(value, "a label")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", label):
        refuse("not-a-label", f"{shown(label)} is not a label", "letters, digits and '._-', at most 63 characters")
    return label


def _string(description: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, **more})


Name = Annotated[str, PlainValidator(parse_name), _string("A name", pattern=NAME_PATTERN)]
Key = Annotated[
    str,
    PlainValidator(parse_key),
    _string("SITE/NAME", pattern="^[a-z]([a-z0-9-]{0,61}[a-z0-9])?/[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"),
]
Source = Annotated[
    str,
    PlainValidator(parse_source),
    _string(
        "internet, SERVICE, service:NAME, segment:SITE/NAME, host:NAME, group:NAME or customer:NAME",
        examples=["internet", "web", "segment:north/administration", "group:administrators"],
    ),
]
Manageable = Annotated[
    str, PlainValidator(parse_manageable), _string("A router, or SITE/NAME of a segment", examples=["north/edge"])
]
AddressWord = Annotated[
    IPv4Address | IPv6Address, PlainValidator(parse_address), _string("An IPv4 or IPv6 address", examples=["10.10.1.5"])
]
NetworkWord = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(parse_network),
    _string("An IPv4 or IPv6 network", examples=["10.10.1.0/24", "fd00:10:0:1::/64"]),
]
Ports = Annotated[
    PortRange,
    PlainValidator(parse_ports),
    WithJsonSchema(
        {
            "description": "A port, or a range FIRST-LAST",
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": "^[0-9]+(-[0-9]+)?$"},
            ],
            "examples": [443, "6514-6520"],
        }
    ),
]
Mac = Annotated[str, PlainValidator(parse_mac), _string("A unicast MAC address", examples=["02:00:00:12:34:56"])]
TrustDomain = Annotated[str, PlainValidator(parse_trust_domain), _string("A DNS name", examples=["shop.example"])]
Identity = Annotated[str, PlainValidator(parse_identity), _string("A SPIFFE ID in the environment's trust domain")]
Words = Annotated[str, PlainValidator(parse_words), _string("Free text in one line", maxLength=200)]
Label = Annotated[str, PlainValidator(parse_label), _string("A label", maxLength=63)]


def number_schema(minimum: int, maximum: int) -> WithJsonSchema:
    """The JSON Schema of a whole number between two bounds."""
    return WithJsonSchema({"type": "integer", "minimum": minimum, "maximum": maximum})
