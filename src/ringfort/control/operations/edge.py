"""What is public: told to the gateway's hosts, for the instances that they may call and for nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from ringfort.compute.sealing import CustomerKey
from ringfort.control import edge_models as models
from ringfort.control import sealed
from ringfort.control.application_models import WantedQuery
from ringfort.control.application_tables import applications, instances, public_certificates, public_names
from ringfort.control.callers import serial_text
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.clock import to_time
from ringfort.control.errors import ProblemError, not_found
from ringfort.control.operations.applications import description_of
from ringfort.control.serving import Served, hosts_of
from ringfort.environment.model import Address, Environment, Host
from ringfort.gateway.edge.certificates import OwnCertificate, material
from ringfort.gateway.edge.model import EdgeError, Health
from ringfort.identity.certificates import to_pem
from ringfort.identity.errors import IdentityError
from ringfort.identity.requests import read_request

OWN, PLATFORM = "certificate", "platform"
ACME = "ringfort.acme"
"""As whose the ACME server's visitors count: no customer has a name with a dot."""


def wanted_at(served: Served, connection: Connection, call: Call) -> models.WantedEdge:
    """All that is public at the site of a node's gateway hosts."""
    environment, hosts = _gateway(served, connection, call)
    public = _Public(served, connection, environment, hosts[0])
    acme = public.acme()
    endpoints = [*([] if acme is None else [acme]), *public.endpoints()]
    text = json.dumps([one.model_dump(mode="json") for one in endpoints], sort_keys=True)
    return models.WantedEdge(revision=hashlib.sha256(text.encode()).hexdigest(), endpoints=endpoints)


def read_owner(served: Served, connection: Connection, call: Call) -> models.PublicNameOwner:
    """Whose a public name is, for the ACME server."""
    environment = served.environment(connection)
    gateway = environment.gateway if environment is not None else None
    if environment is None or gateway is None or not gateway.acme:
        raise ProblemError(403, "not-the-acme-server", "there is no ACME server in what is published")
    if call.caller.identity != environment.services[gateway.acme].identity:
        raise ProblemError(403, "not-the-acme-server", f"{call.caller.identity} is not the ACME server")
    name = call.parameters["public"]
    owner = connection.execute(select(public_names.c.customer).where(public_names.c.name == name)).scalar()
    return models.PublicNameOwner(customer=owner or "")


def has_news(query: WantedQuery, answer: models.WantedEdge) -> bool:
    """Whether an answer is given at once."""
    return query.known != answer.revision


def read_certificate(served: Served, connection: Connection, call: Call) -> bytes:
    """A customer's own certificate with its key, as HAProxy reads it."""
    _gateway(served, connection, call)
    endpoint = _answered(served, connection, call, OWN)
    row = connection.execute(
        select(public_certificates).where(
            public_certificates.c.customer == endpoint.customer, public_certificates.c.name == endpoint.name
        )
    ).one_or_none()
    if row is None:
        raise not_found(f"certificate for {endpoint.name}")
    return material(_own(row), sealed.known_key(served, connection, row.customer))


def issue(served: Served, connection: Connection, call: Call) -> Outcome:
    """A certificate of the platform's for a public name, for a key that the gateway's host made."""
    _gateway(served, connection, call)
    endpoint = _answered(served, connection, call, PLATFORM)
    if served.public is None:
        message = "this controller holds no issuer for public names"
        raise ProblemError(503, "public-authority-missing", message, "ask another controller")
    try:
        key = read_request(call.body(models.EdgeSigningForm).csr.encode())
        leaf = served.public.issue([endpoint.name], key, call.now)
    except (IdentityError, EdgeError) as error:
        raise ProblemError(422, error.code, error.message, error.hint) from error
    answer = models.EdgeCertificate(
        chain=to_pem([leaf, served.public.certificate]).decode(),
        serial=serial_text(leaf.serial_number),
        expires=leaf.not_valid_after_utc,
    )
    after = {"node": call.parameters["name"], "serial": answer.serial, "expires": answer.expires.isoformat()}
    return Outcome(answer, Change("control:public-name:issue", f"public-name/{endpoint.name}", None, after, ()), 201)


class _Public:
    """What is public at one site."""

    def __init__(self, served: Served, connection: Connection, environment: Environment, gate: Host) -> None:
        self._served, self._connection, self._environment, self._gate = served, connection, environment, gate
        self._keys: dict[str, CustomerKey | None] = {}
        self._said: dict[tuple[str, str, int], dict[str, Any]] = {}
        own = connection.execute(
            select(public_certificates.c.customer, public_certificates.c.name, public_certificates.c.digest)
        )
        self._certificates = {(row.customer, row.name): row.digest for row in own}
        self._here: dict[tuple[str, str], list[Row[Any]]] = {}
        within = _within_reach(environment, gate)
        for row in connection.execute(select(instances).where(instances.c.place != "").order_by(instances.c.place)):
            if row.place in within:
                self._here.setdefault((row.customer, row.application), []).append(row)

    def acme(self) -> models.EdgeEndpoint | None:
        """The platform's ACME server, as one more name; None where there is none."""
        gateway = self._environment.gateway
        if gateway is None or not gateway.acme:
            return None
        service = self._environment.services[gateway.acme]
        port = service.ports[0].first
        servers = [
            models.EdgeServer(name=name, address=address, port=port, leaving=False)
            for name in service.hosts
            if (address := self._address(name)) is not None
        ]
        return models.EdgeEndpoint(
            name=gateway.acme_name,
            customer=ACME,
            application=ACME,
            tls="platform",
            hsts=False,
            health="",
            challenge_port=0,
            certificate="",
            servers=servers,
        )

    def endpoints(self, customer: str = "", application: str = "") -> Iterable[models.EdgeEndpoint]:
        """The public names of all applications, or of one."""
        every = select(applications).where(applications.c.deployment > 0)
        if application:
            every = every.where(applications.c.customer == customer, applications.c.name == application)
        gateway = self._environment.gateway
        acme = gateway.acme_name if gateway is not None else ""
        for row in self._connection.execute(every.order_by(applications.c.customer, applications.c.name)):
            said = self._description(row.customer, row.name, row.deployment)
            for endpoint in said.get("endpoints", []):
                if endpoint.get("public-name", "") not in ("", acme):
                    yield self._endpoint(row, said, endpoint)

    def _endpoint(self, row: Row[Any], said: dict[str, Any], endpoint: dict[str, Any]) -> models.EdgeEndpoint:
        name, tls = endpoint["public-name"], endpoint.get("tls", PLATFORM)
        here = self._here.get((row.customer, row.name), [])
        servers = [server for one in here if (server := self._server(one, endpoint["name"])) is not None]
        return models.EdgeEndpoint(
            name=name,
            customer=row.customer,
            application=row.name,
            tls=tls,
            hsts=endpoint.get("hsts", False),
            health=_health(said, endpoint["name"]),
            challenge_port=endpoint.get("challenge-port", 0),
            certificate=self._certificates.get((row.customer, name), "") if tls == OWN else "",
            servers=servers,
        )

    def _server(self, row: Row[Any], endpoint: str) -> models.EdgeServer | None:
        """A place, on the port of the version that the instance is told; None when that one has no such endpoint."""
        said = self._description(row.customer, row.application, row.deployment)
        ports = [one["port"] for one in said.get("endpoints", []) if one["name"] == endpoint]
        address = self._address(row.place)
        if not ports or address is None:
            return None
        return models.EdgeServer(name=row.place, address=address, port=ports[0], leaving=not _runs(row))

    def _address(self, host: str) -> Address | None:
        """Where the gateway's hosts reach another; None without a common family."""
        families = {address.version for address in self._gate.addresses}
        found = [one for one in self._environment.hosts[host].addresses if one.version in families]
        return found[0] if found else None

    def _description(self, customer: str, application: str, deployment: int) -> dict[str, Any]:
        if customer not in self._keys:
            self._keys[customer] = sealed.key_of(self._served, self._connection, customer)
        key, mark = self._keys[customer], (customer, application, deployment)
        if key is not None and mark not in self._said:
            self._said[mark] = description_of(self._connection, key, customer, application, deployment)
        return self._said.get(mark, {})


def _within_reach(environment: Environment, gate: Host) -> set[str]:
    """The hosts that a gateway host may call: places at every site to which a flow leads, for an update or a loss may
    leave none at its own."""
    flows = [flow for flow in environment.flows.values() if gate.name in flow.callers]
    return {host for flow in flows for host in environment.services[flow.service].hosts}


def _runs(row: Row[Any]) -> bool:
    """Whether an instance runs the very version that it is told, as its node says."""
    said = json.loads(row.report) if row.report else {}
    told = {"state": "running", "deployment": row.deployment, "settings": row.settings}
    return bool(row.state == "running" and not row.held and told.items() <= said.items())


def _health(said: dict[str, Any], endpoint: str) -> str:
    """The path that the gateway asks for, too; a connection is enough where it can't."""
    health, first = said.get("health") or {}, said["endpoints"][0]["name"]
    path: str = health.get("path", "") if health.get("endpoint", first) == endpoint else ""
    try:
        return Health(path).path
    except EdgeError:
        return ""


def _gateway(served: Served, connection: Connection, call: Call) -> tuple[Environment, list[Host]]:
    """The environment, and a node's hosts that are the gateway's.

    Raises:
        ProblemError: it has none.
    """
    environment, name = served.environment(connection), call.parameters["name"]
    if environment is not None and environment.gateway is not None:
        serving = environment.services[environment.gateway.service].hosts
        hosts = [host for host in hosts_of(environment, name) if host.name in serving]
        if hosts:
            return environment, hosts
    raise ProblemError(403, "not-the-gateway", f"no host of {name} is the gateway's in what is published")


def _answered(served: Served, connection: Connection, call: Call, tls: str) -> models.EdgeEndpoint:
    """The endpoint of a public name with that kind of TLS.

    Raises:
        ProblemError: nobody's name, or another kind.
    """
    environment, hosts = _gateway(served, connection, call)
    name = call.parameters["public"]
    owned = connection.execute(select(public_names).where(public_names.c.name == name)).one_or_none()
    public = _Public(served, connection, environment, hosts[0])
    acme = public.acme()
    if acme is not None and (acme.name, acme.tls) == (name, tls):
        return acme
    if owned is not None:
        for endpoint in public.endpoints(owned.customer, owned.application):
            if (endpoint.name, endpoint.tls) == (name, tls):
                return endpoint
    raise not_found(f"endpoint {name} with tls: {tls}")


def _own(row: Row[Any]) -> OwnCertificate:
    expires: datetime = to_time(row.expires)
    return OwnCertificate(row.chain, row.sealed_key, (row.name,), expires, row.authority, bool(row.private))
