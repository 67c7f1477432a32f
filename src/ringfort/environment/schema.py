"""The form of an environment file: the models it is validated with, from which its JSON Schema is published."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from ringfort.environment.model import OperatorRole, Protocol, Tier, Tls
from ringfort.environment.words import (
    AddressWord,
    Identity,
    Key,
    Label,
    Mac,
    Manageable,
    Name,
    NetworkWord,
    Ports,
    Source,
    TrustDomain,
    Words,
    number_schema,
    whole,
)

SCHEMA_ID = "urn:ringfort:environment"


class Form(BaseModel):
    """A part of the file: keys with hyphens, no others than these. What is left out is empty or 0."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.rstrip("_").replace("_", "-"),
        use_attribute_docstrings=True,
    )


class InternetForm(Form):
    """What is beyond the providers."""

    bogons_except: list[NetworkWord] = Field(default=[])
    """Special-purpose networks (RFC 6890) that are a true source on this environment's internet."""


class BackboneForm(Form):
    """The network between the sites' routers; required with more than one site."""

    networks: list[NetworkWord] = Field(min_length=1)
    """Private networks, at most one of each address family; site number i holds the i-th host address."""


class ScanDetectionForm(Form):
    """When a source that touches what is forbidden is refused altogether for a while."""

    attempts: Annotated[int, PlainValidator(whole(1, 100_000)), number_schema(1, 100_000)] = 30
    """Refusals after which a source counts as a scanner."""
    seconds: Annotated[int, PlainValidator(whole(1, 86_400)), number_schema(1, 86_400)] = 60
    """The time within which they are counted."""
    refuse_seconds: Annotated[int, PlainValidator(whole(1, 604_800)), number_schema(1, 604_800)] = 300
    """How long a scanner is refused."""


class ConnectionLimitForm(Form):
    """How much one source may use of a router."""

    per_source: Annotated[int, PlainValidator(whole(1, 10_000_000)), number_schema(1, 10_000_000)] = 500
    """Concurrent connections of one source through a router."""


class ProviderForm(Form):
    """One of a site's connections to the internet."""

    networks: list[NetworkWord] = Field(min_length=1)
    """Public networks that the provider routes to the site, at most one of each family. The first host address is the
    provider's own router's, the second the site's."""


def _router(value: object) -> object:
    return value if isinstance(value, dict) else {"name": value}


class RouterForm(Form):
    """A filtering router, written as a name alone or with its machine."""

    name: Name
    """The router's name."""
    machine: Name = ""
    """The machine it runs on; what runs on one machine is lost together. Its own name by default."""


RouterWord = Annotated[RouterForm, BeforeValidator(_router, json_schema_input_type=Name | RouterForm)]


class SegmentForm(Form):
    """A private LAN."""

    tier: Tier
    """What the segment is for; decides what may face it."""
    networks: list[NetworkWord] = Field(min_length=1)
    """Private networks inside the site's blocks, at most one of each family. The gateway holds the first address."""
    cluster: Name = "main"
    """Segments of one cluster of a site; what crosses its boundary needs TLS."""
    machine: Name = ""
    """The machine its switch runs on; a machine of its own by default."""


class SiteForm(Form):
    """A datacenter."""

    blocks: list[NetworkWord] = Field(min_length=1)
    """Private address blocks (RFC 1918, fc00::/7); all segments lie inside."""
    providers: dict[Name, ProviderForm] = Field(default={})
    """Connections to the internet, by name."""
    routers: list[RouterWord] = Field(min_length=1, max_length=2)
    """A pair of filtering routers; one is allowed."""
    segments: dict[Name, SegmentForm] = Field(default={})
    """LANs, by name."""


class HostForm(Form):
    """A host, or with ``count`` or ``segments`` several that are alike."""

    site: Name = ""
    """The site of the host's segment."""
    segment: Name = ""
    """The name of the host's segment in its site."""
    segments: list[Key] = Field(default=[], min_length=1)
    """Instead of site and segment: several segments SITE/NAME; hosts are called NAME-SITE-SEGMENT."""
    count: Annotated[int, PlainValidator(whole(1, 100_000)), number_schema(1, 100_000)] = 0
    """How many (in each segment); they are called NAME-1, NAME-2 ..."""
    addresses: list[AddressWord] = Field(default=[], min_length=1, max_length=2)
    """At most one of each family; with count, those of the first host. Without, the next free ones are taken."""
    mac: Mac = ""
    """Derived from the name by default."""
    services: list[Name] = Field(default=[])
    """What it serves."""
    customer: Name = ""
    """The customer whose host it is."""
    labels: dict[Name, Label] = Field(default={})
    """Words by which groups select hosts."""
    machine: Name = ""
    """The machine it runs on; what runs on one machine is lost together. Its own name by default."""
    hypervisor: Name = ""
    """The host whose guest it is: an instance, in a segment of tier customer and with a customer, on that host's
    machine. Its sandbox on the hypervisor guards it and everybody else from it."""
    manages: list[Manageable] = Field(default=[], min_length=1)
    """Routers, and segments SITE/NAME whose switches, that are managed from here, all on one machine: this host is
    on it too, and serves nothing."""


class GroupForm(Form):
    """Hosts under one name: those with all of the labels, and those listed."""

    labels: dict[Name, Label] = Field(default={})
    """Labels that a host must have, all of them."""
    hosts: list[Name] = Field(default=[])
    """Hosts, or entries with a count, by name."""


class ServiceForm(Form):
    """What hosts serve."""

    protocol: Protocol
    """icmp is echo request (ping)."""
    ports: list[Ports] = Field(default=[])
    """Ports on the host; none for icmp."""
    tls: Tls = Tls.NONE
    """none, server (the server proves itself) or mutual (the caller proves itself too)."""
    identity: Identity = ""
    """spiffe://TRUST-DOMAIN/service/NAME by default; only NAME may differ."""
    application: Name = ""
    """The application it belongs to; a back end answers front ends of its own application only."""


class FlowForm(Form):
    """One allowed communication. What no flow allows is refused."""

    from_: Source
    """Who may call: internet, a service, segment:SITE/NAME, host:NAME, group:NAME (group:all: every host) or
    customer:NAME."""
    to: Name
    """The service that is called."""
    name: Name = ""
    """FROM-to-TO by default."""
    as_: list[Name] = Field(default=[], min_length=1)
    """Operators who call from these hosts; their own certificates are asked for instead of the hosts'."""
    reason: Words = ""
    """Why, for people."""


class PublishedForm(Form):
    """A service reachable from the internet at a provider's address, by translation."""

    service: Name
    """The service."""
    provider: Key
    """The provider SITE/NAME whose address it is."""
    address: AddressWord
    """An address in the provider's networks, not one of the first two."""
    port: Annotated[int, PlainValidator(whole(1, 65535)), number_schema(1, 65535)] = 0
    """The port on the internet; the service's by default; none for icmp."""
    host: Name = ""
    """The host that serves it, or floating addresses where it is reached; may be left out when there is one host."""
    target_port: Annotated[int, PlainValidator(whole(1, 65535)), number_schema(1, 65535)] = 0
    """The port on the host; by default the same if the service has it, or else its only one."""


class OperatorForm(Form):
    """A person who calls controllers."""

    roles: Annotated[list[OperatorRole], Field(min_length=1)]
    """What this person may act as."""
    sites: list[Name] = Field(default=[])
    """Of site staff: where they may put machines in."""


class ControlForm(Form):
    """The control plane: who tells the nodes what is declared, and who watches over the audit log."""

    controller: Name
    """The service of the controllers; every node's host needs a flow to it."""
    witness: Name = ""
    """The service of the audit log's witness; best at another site than the controller's."""
    customers: Name = ""
    """The service where controllers hear customers, with the certificates that these registered."""
    door: Name = ""
    """The service on edge hosts that hands on to it, unread, what the internet sends."""
    operators: dict[Name, OperatorForm] = Field(default={})
    """People who call controllers, by the name in their certificates; without it the controllers' own files say."""


class GatewayForm(Form):
    """Where the internet reaches customers' applications."""

    service: Name
    """The service, one port of tcp, under which edge hosts answer TLS by customers' public names."""
    plain: Name = ""
    """The service, on the same hosts, of plain HTTP: it redirects, and answers challenges of ACME."""
    acme: Name = ""
    """The service of the platform's ACME server, if there is one; the gateway answers for it."""
    acme_name: TrustDomain = ""
    """The ACME server's public name."""


class FloatingForm(Form):
    """Addresses that one of several hosts of a segment holds, whichever lives (VRRP)."""

    hosts: list[Name] = Field(min_length=1)
    """Who may hold them, two or more on machines of their own, the first by choice; or an entry with a count."""
    addresses: list[AddressWord] = Field(min_length=1, max_length=2)
    """At most one of each family, in the networks of the hosts' segment; nobody else's."""
    services: list[Name] = Field(min_length=1)
    """What is reached there; each of the hosts serves it."""
    signs: Name
    """The service over which the hosts tell each other that they live: one port of tcp under mutual TLS, served by
    exactly these hosts, with a flow from itself to itself."""


class EnvironmentForm(Form):
    """A Ringfort environment: sites, hosts, services, and every communication that is allowed."""

    environment: Name
    """The environment's name."""
    trust_domain: TrustDomain
    """The domain of its identities, spiffe://TRUST-DOMAIN/..."""
    include: list[Annotated[str, WithJsonSchema({"type": "string"})]] = Field(default=[])
    """Files merged into this one: paths relative to it."""
    internet: InternetForm = Field(default=InternetForm())
    backbone: BackboneForm | None = None
    scan_detection: ScanDetectionForm = Field(default=ScanDetectionForm())
    connection_limit: ConnectionLimitForm = Field(default=ConnectionLimitForm())
    control: ControlForm | None = None
    gateway: GatewayForm | None = None
    sites: dict[Name, SiteForm] = Field(default={})
    """Datacenters, by name."""
    hosts: dict[Name, HostForm] = Field(default={})
    """Machines, by name."""
    groups: dict[Name, GroupForm] = Field(default={})
    """Sets of hosts, by name."""
    services: dict[Name, ServiceForm] = Field(default={})
    """What hosts serve, by name."""
    floating: dict[Name, FloatingForm] = Field(default={})
    """Addresses that move between hosts, by name."""
    flows: list[FlowForm] = Field(default=[])
    """Everything that may communicate."""
    published: list[PublishedForm] = Field(default=[])
    """What the internet reaches."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of an environment file, for editors."""
    schema = for_editors(EnvironmentForm.model_json_schema(by_alias=True))
    assert isinstance(schema, dict)
    # a file that is included holds only some sections, so editors must not ask it for the others
    schema.pop("required", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}


def for_editors(schema: object) -> object:
    """The schema without what only pydantic needs: titles, and defaults that stand for nothing written."""
    if isinstance(schema, list):
        return [for_editors(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {}
    for key, item in schema.items():
        if (key == "title" and isinstance(item, str)) or (key == "default" and item in ("", 0, [], {}, None)):
            continue
        result[key] = for_editors(item)
    if "patternProperties" in result:  # a mapping by name: other names are refused
        result.pop("propertyNames", None)
        result["additionalProperties"] = False
    return result
