"""Every call there is: one table, from which the server, the API's description and the tests of policies are made."""

from __future__ import annotations

from ringfort.control import models
from ringfort.control.application_routes import APPLICATIONS
from ringfort.control.authorisation import Resource
from ringfort.control.edge_routes import EDGE
from ringfort.control.operation import (
    BYTES,
    JSON,
    LARGE,
    Operation,
    alone,
    customer,
    node,
    plain,
    platform,
    with_served,
)
from ringfort.control.operations import audit, customers, environment, erasures, events, nodes, revocations

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "/v1/openapi.json", "readDescription", "This description.", "description:read", JSON, platform
    ),
    # -- environment
    Operation(
        "GET", "/v1/environment", "readEnvironment", "What is published.", "environment:read",
        models.EnvironmentState, platform, environment.read_environment, topics=("environment",),
    ),
    Operation(
        "GET", "/v1/environment/metadata/{file}", "fetchMetadata", "A metadata file of the TUF repository.",
        "environment:fetch", BYTES, platform, plain(environment.fetch_metadata), topics=("environment",),
    ),
    Operation(
        "GET", "/v1/environment/targets/{file}", "fetchTarget", "A target file of the TUF repository.",
        "environment:fetch", BYTES, platform, plain(environment.fetch_target), topics=("environment",),
    ),
    Operation(
        "POST", "/v1/environment/publications", "publishEnvironment", "Put in force what the approvers signed.",
        "environment:publish", models.EnvironmentState, platform, change=with_served(environment.publish),
        form=models.PublicationForm, status=201, largest=LARGE,
    ),
    # -- nodes
    Operation(
        "GET", "/v1/nodes", "listNodes", "All nodes.", "node:list", models.Nodes, platform,
        plain(nodes.list_nodes), topics=("nodes",),
    ),
    Operation(
        "GET", "/v1/nodes/{name}", "readNode", "A node, and what it reported last.", "node:read", models.Node, node,
        plain(nodes.read_node), topics=("nodes",),
    ),
    Operation(
        "POST", "/v1/enrolment-tokens", "createEnrolmentToken", "A one-time token for a machine to enrol with.",
        "enrolment-token:create", models.EnrolmentToken, node,
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
        "node:renew", models.Certificate, node, change=with_served(nodes.renew), form=models.SigningForm, status=201,
    ),
    Operation(
        "GET", "/v1/nodes/{name}/desired", "awaitDesired", "What the node should be at; waits while that is known.",
        "node:await", models.Desired, node, query=models.DesiredQuery, waits=True,
    ),
    Operation(
        "POST", "/v1/nodes/{name}/reports", "reportNode", "What the node is at, and what it noticed.", "node:report",
        models.Reported, node,
        change=lambda _served, state, connection, call: nodes.report(state.version, connection, call),
        form=models.ReportForm, largest=1024 * 1024,
    ),
    # -- revocations
    Operation(
        "GET", "/v1/revocations", "listRevocations", "Certificates that are no longer trusted.", "revocation:list",
        models.Revocations, platform, plain(revocations.list_revocations), topics=("revocations",),
    ),
    Operation(
        "GET", "/v1/revocations/lists", "fetchLists", "The signed revocation lists of all authorities, as a PEM file.",
        "revocation:fetch", BYTES, platform, plain(revocations.fetch_lists), topics=("lists",),
    ),
    Operation(
        "GET", "/v1/identity/bundle", "fetchBundle", "The trust bundle, as a PEM file.", "bundle:fetch", BYTES,
        platform, lambda served, _connection, _call: served.authority.bundle.to_pem(),
    ),
    Operation(
        "POST", "/v1/revocations", "revoke", "Trust a certificate, or all of an identity, no longer.",
        "revocation:create", models.Revocations, platform, change=alone(revocations.revoke),
        form=models.RevocationForm, status=201,
    ),
    # -- audit and events
    Operation(
        "GET", "/v1/audit/records", "listRecords", "Audit records.", "audit:list", models.AuditRecords, platform,
        audit.list_records, query=models.AuditQuery,
    ),
    Operation(
        "GET", "/v1/audit/records/{sequence}", "readRecord", "An audit record.", "audit:read", models.AuditRecord,
        platform, audit.read_record,
    ),
    Operation(
        "GET", "/v1/audit/log/{path}", "fetchLog", "A file of the audit log: checkpoint, tile, bundle of entries.",
        "audit:fetch", BYTES, platform, audit.fetch_file,
    ),
    Operation(
        "POST", "/v1/audit/erasures", "erasePersonalValues", "Erase personal values; the log and its proofs stay.",
        "audit:erase", models.Erasure, platform, change=with_served(erasures.erase), form=models.ErasureForm,
        status=201,
    ),
    Operation(
        "GET", "/v1/events", "listEvents", "What happened and somebody should know.", "event:list", models.Events,
        platform, plain(events.list_events), query=models.EventQuery,
    ),
    # -- customers, as the platform's people see them
    Operation(
        "GET", "/v1/customers", "listCustomers", "All customers.", "customer:list", models.Customers, platform,
        plain(customers.list_customers), topics=("customers",),
    ),
    Operation(
        "POST", "/v1/customers", "createCustomer", "A new customer, with its first certificate.", "customer:create",
        models.Customer, customer, change=alone(customers.create_customer), form=models.CustomerForm, status=201,
        refusals=(409,),
    ),
    Operation(
        "GET", "/v1/customers/{name}", "readCustomer", "A customer.", "customer:read", models.Customer, customer,
        plain(customers.read_customer), topics=("customers",),
    ),
    Operation(
        "DELETE", "/v1/customers/{name}", "closeCustomer", "The end of a customer; its name is never given again.",
        "customer:close", models.Customer, customer, change=alone(customers.close_customer),
    ),
    # -- customers, as they see themselves: their own listener, their own certificates
    Operation(
        "GET", "/v1/customers/{name}/certificates", "listCertificates", "The customer's management certificates.",
        "customer-certificate:list", models.CustomerCertificates, customer, plain(customers.list_certificates),
        topics=("customers",), customers=True,
    ),
    Operation(
        "POST", "/v1/customers/{name}/certificates", "addCertificate", "One more management certificate.",
        "customer-certificate:add", models.CustomerCertificates, customer, change=alone(customers.add_certificate),
        form=models.CertificateForm, status=201, customers=True, refusals=(409,),
    ),
    Operation(
        "DELETE", "/v1/customers/{name}/certificates/{thumbprint}", "removeCertificate",
        "One management certificate less; never the last.", "customer-certificate:remove", models.CustomerCertificates,
        customer, change=alone(customers.remove_certificate), customers=True, refusals=(409,),
    ),
    *APPLICATIONS,
    *EDGE,
)  # fmt: skip
