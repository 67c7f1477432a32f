"""What callers send and get: the API's schema is made from these. Unknown fields are refused."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Base64Bytes, BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Thumbprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Serial = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,40}$")]
AuthorityId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,128}$")]
Identity = Annotated[str, StringConstraints(pattern=r"^spiffe://[a-z0-9._-]+/[a-z]+/[A-Za-z0-9._-]+$", max_length=512)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9:._/-]*$", max_length=200)]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1000)]
Pem = Annotated[str, StringConstraints(max_length=16_384)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Scalar = (
    Annotated[str, StringConstraints(max_length=4000)] | bool | Annotated[int, Field(ge=-(2**53) + 1, le=2**53 - 1)]
)


class Form(BaseModel):
    """What is sent: exactly these fields, of exactly these types."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What is answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# -- problems --------------------------------------------------------------------------------------------------------


class Fault(Answer):
    """One thing wrong in a body or a query."""

    pointer: str = Field(description="Where: a JSON pointer into the body, or the name of a query's parameter.")
    detail: str


class Problem(Answer):
    """Why a call was refused (RFC 9457)."""

    type: str = Field(description="Stable; the last part is the problem's code.")
    title: str
    status: int
    detail: str
    hint: str = ""
    faults: list[Fault] = []


# -- nodes -----------------------------------------------------------------------------------------------------------


class EnrolmentTokenForm(Form):
    """A machine that may enrol."""

    node: Name
    site: Name
    addresses: list[IPv4Address | IPv6Address] = Field(
        min_length=1, max_length=8, description="From where the machine will come, now and later."
    )
    minutes: int = Field(default=10, ge=1, le=60, description="How long the token is good for.")


class EnrolmentToken(Answer):
    """A one-time token: hand it to the machine, once, over a trusted way."""

    node: str
    token: str = Field(description="One line; a secret. It is kept nowhere and shown once.")
    serial: str
    expires: AwareDatetime


class SigningForm(Form):
    """A request for a certificate."""

    csr: Pem = Field(description="PKCS #10, PEM. Only its public key is used.")
    identity: Identity | None = Field(
        default=None, description="For renewals: an identity of the node other than its own, of a service it serves."
    )


class Certificate(Answer):
    """A certificate and those above it up to the root, which is left out."""

    identity: str
    chain: str = Field(description="PEM, the leaf first.")
    serial: str
    expires: AwareDatetime


class Desired(Answer):
    """What a node should be at."""

    version: int = Field(description="The environment's version; 0 when none is published.")
    lists: int = Field(description="Another number: there are other revocation lists.")
    bundle: str = Field(description="SHA-256 of the trust bundle in PEM: whether there is another one.")
    root: int = Field(description="The version of the approvers' root; 0 when there is none.")

    def is_known(self, query: DesiredQuery) -> bool:
        """Whether there is nothing here that the node does not know, of what it asks about."""
        same_lists, same_bundle = query.lists in (None, self.lists), query.bundle in (None, self.bundle)
        return query.known == self.version and same_lists and same_bundle and query.root in (None, self.root)


class ReportedEvent(Form):
    """Something that a node noticed."""

    key: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")] = Field(
        description="The node's own name for it; the same key twice is one event."
    )
    at: AwareDatetime
    kind: Word = Field(description="Such as drift, rolled-back, metadata-refused.")
    severity: Literal["notice", "warning", "alert"]
    subject: Word = Field(description="What it is about, such as a device: router-filter:north-r1.")
    detail: dict[Word, Scalar | list[Scalar]] = Field(default={}, max_length=50)


class ReportForm(Form):
    """What a node is at."""

    version: Count = Field(description="The environment's version that is enforced; 0 for none.")
    state: Literal["starting", "applying", "confirmed", "rolled-back", "refused"]
    digest: Digest | Literal[""] = Field(description="SHA-256 of what was read back from the kernel.")
    software: Line = ""
    devices: dict[Word, Digest] = Field(default={}, max_length=1000, description="Digest of each device's readback.")
    counters: dict[Word, Count] = Field(default={}, max_length=2000)
    events: list[ReportedEvent] = Field(default=[], max_length=200)


class Reported(Answer):
    """What the controller made of a report."""

    version: int = Field(description="What the node should be at.")
    events: int = Field(description="How many of the events were new.")


class Node(Answer):
    """A machine that runs a node."""

    name: str
    site: str
    state: Literal["active", "revoked"]
    addresses: list[str]
    enrolled: AwareDatetime
    serial: str
    expires: AwareDatetime
    seen: AwareDatetime | None
    report: ReportForm | None = Field(description="The last one, without its events.")


class Nodes(Answer):
    """All nodes, by name."""

    nodes: list[Node]


# -- environment -----------------------------------------------------------------------------------------------------


class PublicationForm(Form):
    """What approvers have signed. What is left out stays as it is."""

    root: Base64Bytes | None = None
    targets: Base64Bytes | None = None
    environment: Base64Bytes | None = None


class EnvironmentState(Answer):
    """What is published."""

    version: int = Field(description="0 when none is.")
    root: int = Field(description="The root's version; 0 when there is none.")
    digest: str = Field(description="SHA-256 of the environment.")
    expires: AwareDatetime | None


# -- revocations -----------------------------------------------------------------------------------------------------


class RevocationForm(Form):
    """What is no longer trusted: one certificate, or every certificate issued here for an identity."""

    identity: Identity | None = None
    authority: AuthorityId | None = Field(default=None, description="The key identifier of who signed it, hex.")
    serial: Serial | None = None
    reason: Line = Field(min_length=1)


class Revocation(Answer):
    """A certificate that is no longer trusted."""

    authority: str
    serial: str
    identity: str
    reason: str
    revoked: AwareDatetime


class Revocations(Answer):
    """All of them, oldest first."""

    revocations: list[Revocation]


# -- customers -------------------------------------------------------------------------------------------------------


class CustomerForm(Form):
    """A new customer, with its first management certificate."""

    name: Name
    certificate: Pem


class CertificateForm(Form):
    """A management certificate."""

    certificate: Pem


class CustomerCertificate(Answer):
    """A management certificate of a customer."""

    thumbprint: str
    subject: str
    expires: AwareDatetime
    added: AwareDatetime


class Customer(Answer):
    """A customer."""

    name: str
    state: Literal["active", "closed"]
    created: AwareDatetime
    certificates: list[CustomerCertificate]


class Customers(Answer):
    """All customers, by name."""

    customers: list[Customer]


class CustomerCertificates(Answer):
    """A customer's management certificates."""

    certificates: list[CustomerCertificate]


# -- audit and events ------------------------------------------------------------------------------------------------


class AuditRecord(Answer):
    """One change."""

    sequence: int
    at: AwareDatetime
    object: str
    action: str
    who: str | None = Field(description="Whose change it was; null when that was erased.")
    origin: str | None = Field(description="From where; null when that was erased.")
    record: Any = Field(description="The record's body, as it is sealed into the log's leaf.")


class AuditRecords(Answer):
    """Records, oldest first."""

    records: list[AuditRecord]
    next: int | None = Field(description="Ask again with ``from`` at this for more; null when this is all.")


class AuditQuery(Form):
    """Which records."""

    start: int = Field(default=0, ge=0, alias="from")
    limit: int = Field(default=100, ge=1, le=1000)
    object: Annotated[str, StringConstraints(max_length=300)] = ""


class ErasureForm(Form):
    """Personal values that shall be erased: wherever they occur, or all of some records."""

    values: list[Annotated[str, StringConstraints(min_length=1, max_length=1000)]] = Field(default=[], max_length=20)
    records: list[Count] = Field(default=[], max_length=100)


class Erasure(Answer):
    """What was erased."""

    erased: int = Field(description="How many values; those that were erased before are not among them.")


class Event(Answer):
    """Something that somebody should know."""

    number: int
    source: str
    at: AwareDatetime
    kind: str
    severity: Literal["notice", "warning", "alert"]
    subject: str
    detail: dict[str, Any]


class Events(Answer):
    """Events, oldest first."""

    events: list[Event]
    next: int | None


class EventQuery(Form):
    """Which events."""

    start: int = Field(default=0, ge=0, alias="from")
    limit: int = Field(default=100, ge=1, le=1000)


class DesiredQuery(Form):
    """What the node knows already."""

    known: int = Field(
        default=-1, ge=-1, description="Answer at once unless this is the version; then wait for another."
    )
    lists: Count | None = Field(default=None, description="And unless this is the number of the revocation lists.")
    bundle: Digest | None = Field(default=None, description="And unless this is the digest of the trust bundle.")
    root: Count | None = Field(default=None, description="And unless this is the version of the approvers' root.")

    @property
    def topics(self) -> frozenset[str]:
        """What to wait for."""
        asked = {"environment": True, "lists": self.lists is not None, "bundle": self.bundle is not None}
        return frozenset(topic for topic, wanted in asked.items() if wanted)


Time = datetime
