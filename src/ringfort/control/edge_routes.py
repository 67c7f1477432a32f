"""Calls about what is public: the gateway's hosts', and the customers' about certificates of their own."""

from __future__ import annotations

from ringfort.control import edge_models as models
from ringfort.control.application_models import WantedQuery
from ringfort.control.operation import BYTES, Operation, alone, customer, node, plain, platform, with_served
from ringfort.control.operations import edge, public_certificates
from ringfort.control.operations.arranging import EDGE as TOPIC

_EDGE = "/v1/nodes/{name}/edge"
_OWN = "/v1/customers/{name}/public-certificates"
CHAIN_AND_KEY = 160 * 1024

EDGE: tuple[Operation, ...] = (
    Operation(
        "GET", _EDGE, "awaitEdge", "What is public at a gateway host's site; waits while that is known.", "node:run",
        models.WantedEdge, node, edge.wanted_at, query=WantedQuery, news=edge.has_news, follows=lambda _parts: TOPIC,
    ),
    Operation(
        "GET", f"{_EDGE}/certificates/{{public}}", "readEdgeCertificate",
        "A customer's own certificate for a public name, with its key: for a gateway host's memory.", "node:run", BYTES,
        node, edge.read_certificate,
    ),
    Operation(
        "POST", f"{_EDGE}/certificates/{{public}}", "issueEdgeCertificate",
        "A certificate of the platform's for a public name and a key of a gateway host.", "node:run",
        models.EdgeCertificate, node, change=with_served(edge.issue), form=models.EdgeSigningForm, status=201,
    ),
    Operation(
        "GET", "/v1/public-names/{public}", "readPublicName", "Whose a public name is, for the ACME server.",
        "public-name:read", models.PublicNameOwner, platform, edge.read_owner,
    ),
    Operation(
        "GET", _OWN, "listPublicCertificates", "The customer's own certificates for public names; no keys.",
        "application:read", models.PublicCertificates, customer, plain(public_certificates.list_certificates),
        customers=True,
    ),
    Operation(
        "POST", _OWN, "putPublicCertificate", "Verify a certificate for public names, and keep it with its key.",
        "application:configure", models.PublicCertificates, customer, change=with_served(public_certificates.put),
        form=models.PublicCertificateForm, largest=CHAIN_AND_KEY, customers=True, refusals=(409,),
    ),
    Operation(
        "DELETE", f"{_OWN}/{{public}}", "removePublicCertificate", "Keep a certificate no longer.",
        "application:configure", models.PublicCertificates, customer, change=alone(public_certificates.remove),
        customers=True,
    ),
)  # fmt: skip
