"""Every call there is: one table, from which the server, the API's description and the tests of policies are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from ringfort.control import models
from ringfort.control.authorisation import PLATFORM, Resource
from ringfort.control.callers import Caller
from ringfort.control.calls import Call, Outcome
from ringfort.control.operations import audit, customers, environment, erasures, events, nodes, revocations
from ringfort.control.serving import Served
from ringfort.control.state import State

Reading = Callable[[Served, Connection, Call], BaseModel | bytes]
Changing = Callable[[Served, State, Connection, Call], Outcome]
About = Callable[[State, Caller, Mapping[str, str], BaseModel | None], Resource]

SMALL = 64 * 1024
LARGE = 32 * 1024 * 1024
"""Bytes of a body. Only publications are large: the environment of 10,000 hosts has some 10 MB."""

PARAMETERS = {
    "name": r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    "application": r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    "thumbprint": r"[0-9a-f]{64}",
    "sequence": r"[0-9]{1,15}",
    "file": r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}",
    "path": r"[0-9A-Za-z][0-9A-Za-z._/-]{0,255}",
}
"""What the variable parts of paths look like."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call.

    Attributes:
        name: its ``operationId``.
        action: what policies know it by.
        about: the resource that policies judge.
        answer: the document's model, or a media type for bytes.
        topics: what a read depends on; answers are kept while none of these changes. Empty: not kept.
        customers: whether it is for customers' certificates, on their listener, or for the platform's own.
        waits: whether it may wait for something to change (long poll).
    """

    method: str
    path: str
    name: str
    summary: str
    action: str
    answer: type[BaseModel] | str
    about: About
    read: Reading | None = None
    change: Changing | None = None
    form: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    status: int = 200
    topics: tuple[str, ...] = ()
    customers: bool = False
    waits: bool = False
    largest: int = SMALL
    refusals: tuple[int, ...] = field(default=())

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's variable parts."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


def _platform(_state: State, _caller: Caller, _parameters: Mapping[str, str], _form: BaseModel | None) -> Resource:
    return PLATFORM


def _node(state: State, _caller: Caller, parameters: Mapping[str, str], form: BaseModel | None) -> Resource:
    if isinstance(form, models.EnrolmentTokenForm):
        return Resource("Node", form.node, form.site)
    name = parameters["name"]
    return Resource("Node", name, state.sites.get(name, ""))


def _customer(_state: State, _caller: Caller, parameters: Mapping[str, str], form: BaseModel | None) -> Resource:
    return Resource("CustomerAccount", form.name if isinstance(form, models.CustomerForm) else parameters["name"])


def _plain(function: Callable[[Connection, Call], Any]) -> Reading:
    return lambda _served, connection, call: function(connection, call)


def _with(function: Callable[[Served, Connection, Call], Any]) -> Changing:
    return lambda served, _state, connection, call: function(served, connection, call)


def _alone(function: Callable[[Connection, Call], Outcome]) -> Changing:
    return lambda _served, _state, connection, call: function(connection, call)


BYTES, JSON = "application/octet-stream", "application/json"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "/v1/openapi.json", "readDescription", "This description.", "description:read", JSON, _platform
    ),
    # -- environment
    Operation(
        "GET", "/v1/environment", "readEnvironment", "What is published.", "environment:read",
        models.EnvironmentState, _platform, _plain(environment.read_environment), topics=("environment",),
    ),
    Operation(
        "GET", "/v1/environment/metadata/{file}", "fetchMetadata", "A metadata file of the TUF repository.",
        "environment:fetch", BYTES, _platform, _plain(environment.fetch_metadata), topics=("environment",),
    ),
    Operation(
        "GET", "/v1/environment/targets/{file}", "fetchTarget", "A target file of the TUF repository.",
        "environment:fetch", BYTES, _platform, _plain(environment.fetch_target), topics=("environment",),
    ),
    Operation(
        "POST", "/v1/environment/publications", "publishEnvironment", "Put in force what the approvers signed.",
        "environment:publish", models.EnvironmentState, _platform, change=_with(environment.publish),
        form=models.PublicationForm, status=201, largest=LARGE,
    ),
    # -- nodes
    Operation(
        "GET", "/v1/nodes", "listNodes", "All nodes.", "node:list", models.Nodes, _platform,
        _plain(nodes.list_nodes), topics=("nodes",),
    ),
    Operation(
        "GET", "/v1/nodes/{name}", "readNode", "A node, and what it reported last.", "node:read", models.Node, _node,
        _plain(nodes.read_node), topics=("nodes",),
    ),
    Operation(
        "POST", "/v1/enrolment-tokens", "createEnrolmentToken", "A one-time token for a machine to enrol with.",
        "enrolment-token:create", models.EnrolmentToken, _node,
        change=lambda served, _state, connection, call: nodes.make_token(served.authority, connection, call),
        form=models.EnrolmentTokenForm, status=201, refusals=(409,),
    ),
    Operation(
        "POST", "/v1/enrolments", "enrol", "Become a node; once, with a token's certificate.", "node:enrol",
        models.Certificate, lambda _state, caller, _parameters, _form: Resource("Node", caller.name),
        change=lambda served, _state, connection, call: nodes.enrol(served.authority, connection, call),
        form=models.SigningForm, status=201,
    ),
    Operation(
        "POST", "/v1/nodes/{name}/renewals", "renewCertificate", "A node's certificate, or one of a service it serves.",
        "node:renew", models.Certificate, _node, change=_with(nodes.renew), form=models.SigningForm, status=201,
    ),
    Operation(
        "GET", "/v1/nodes/{name}/desired", "awaitDesired", "What the node should be at; waits while that is known.",
        "node:await", models.Desired, _node, query=models.DesiredQuery, waits=True,
    ),
    Operation(
        "POST", "/v1/nodes/{name}/reports", "reportNode", "What the node is at, and what it noticed.", "node:report",
        models.Reported, _node,
        change=lambda _served, state, connection, call: nodes.report(state.version, connection, call),
        form=models.ReportForm, largest=1024 * 1024,
    ),
    # -- revocations
    Operation(
        "GET", "/v1/revocations", "listRevocations", "Certificates that are no longer trusted.", "revocation:list",
        models.Revocations, _platform, _plain(revocations.list_revocations), topics=("revocations",),
    ),
    Operation(
        "GET", "/v1/revocations/lists", "fetchLists", "The signed revocation lists of all authorities, as a PEM file.",
        "revocation:fetch", BYTES, _platform, _plain(revocations.fetch_lists), topics=("lists",),
    ),
    Operation(
        "GET", "/v1/identity/bundle", "fetchBundle", "The trust bundle, as a PEM file.", "bundle:fetch", BYTES,
        _platform, lambda served, _connection, _call: served.authority.bundle.to_pem(),
    ),
    Operation(
        "POST", "/v1/revocations", "revoke", "Trust a certificate, or all of an identity, no longer.",
        "revocation:create", models.Revocations, _platform, change=_alone(revocations.revoke),
        form=models.RevocationForm, status=201,
    ),
    # -- audit and events
    Operation(
        "GET", "/v1/audit/records", "listRecords", "Audit records.", "audit:list", models.AuditRecords, _platform,
        audit.list_records, query=models.AuditQuery,
    ),
    Operation(
        "GET", "/v1/audit/records/{sequence}", "readRecord", "An audit record.", "audit:read", models.AuditRecord,
        _platform, audit.read_record,
    ),
    Operation(
        "GET", "/v1/audit/log/{path}", "fetchLog", "A file of the audit log: checkpoint, tile, bundle of entries.",
        "audit:fetch", BYTES, _platform, audit.fetch_file,
    ),
    Operation(
        "POST", "/v1/audit/erasures", "erasePersonalValues", "Erase personal values; the log and its proofs stay.",
        "audit:erase", models.Erasure, _platform, change=_with(erasures.erase), form=models.ErasureForm, status=201,
    ),
    Operation(
        "GET", "/v1/events", "listEvents", "What happened and somebody should know.", "event:list", models.Events,
        _platform, _plain(events.list_events), query=models.EventQuery,
    ),
    # -- customers, as the platform's people see them
    Operation(
        "GET", "/v1/customers", "listCustomers", "All customers.", "customer:list", models.Customers, _platform,
        _plain(customers.list_customers), topics=("customers",),
    ),
    Operation(
        "POST", "/v1/customers", "createCustomer", "A new customer, with its first certificate.", "customer:create",
        models.Customer, _customer, change=_alone(customers.create_customer), form=models.CustomerForm, status=201,
        refusals=(409,),
    ),
    Operation(
        "GET", "/v1/customers/{name}", "readCustomer", "A customer.", "customer:read", models.Customer, _customer,
        _plain(customers.read_customer), topics=("customers",),
    ),
    Operation(
        "DELETE", "/v1/customers/{name}", "closeCustomer", "The end of a customer; its name is never given again.",
        "customer:close", models.Customer, _customer, change=_alone(customers.close_customer),
    ),
    # -- customers, as they see themselves: their own listener, their own certificates
    Operation(
        "GET", "/v1/customers/{name}/certificates", "listCertificates", "The customer's management certificates.",
        "customer-certificate:list", models.CustomerCertificates, _customer, _plain(customers.list_certificates),
        topics=("customers",), customers=True,
    ),
    Operation(
        "POST", "/v1/customers/{name}/certificates", "addCertificate", "One more management certificate.",
        "customer-certificate:add", models.CustomerCertificates, _customer, change=_alone(customers.add_certificate),
        form=models.CertificateForm, status=201, customers=True, refusals=(409,),
    ),
    Operation(
        "DELETE", "/v1/customers/{name}/certificates/{thumbprint}", "removeCertificate",
        "One management certificate less; never the last.", "customer-certificate:remove", models.CustomerCertificates,
        _customer, change=_alone(customers.remove_certificate), customers=True, refusals=(409,),
    ),
    Operation(
        "GET", "/v1/customers/{name}/applications", "listApplications", "What the customer wants to run.",
        "application:list", models.Applications, _customer, _plain(customers.list_applications),
        topics=("applications",), customers=True,
    ),
    Operation(
        "GET", "/v1/customers/{name}/applications/{application}", "readApplication", "An application.",
        "application:read", models.Application, _customer, _plain(customers.read_application),
        topics=("applications",), customers=True,
    ),
    Operation(
        "PUT", "/v1/customers/{name}/applications/{application}", "putApplication",
        "Software and configuration of an application, whole.", "application:put", models.Application, _customer,
        change=_alone(customers.put_application), form=models.ApplicationForm, status=201, customers=True,
        refusals=(409,),
    ),
    Operation(
        "DELETE", "/v1/customers/{name}/applications/{application}", "removeApplication", "Run it no more.",
        "application:remove", models.Application, _customer, change=_alone(customers.remove_application),
        customers=True,
    ),
)  # fmt: skip
