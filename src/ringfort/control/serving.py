"""What operations need besides the database: keys that sign, and what is published."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Signer
from sqlalchemy import Connection, select
from tuf.api.metadata import Metadata, Timestamp

from ringfort.compute.sealing import PlatformKey
from ringfort.control import models
from ringfort.control.errors import ControlError, ProblemError
from ringfort.control.ports import Authority
from ringfort.control.repository import DatabaseStore
from ringfort.control.tables import revisions
from ringfort.environment.model import Environment, Host
from ringfort.environment.serialise import from_bytes
from ringfort.gateway.acme.authority import PublicIssuer
from ringfort.publishing.errors import PublishingError
from ringfort.publishing.repository import Repository
from ringfort.publishing.storing import METADATA

NOTHING = models.EnvironmentState(version=0, root=0, digest="", expires=None)


@dataclass(slots=True)
class Served:
    """The controller's own: its authority, the online key of the repository, the audit log's directory,
    the key that wraps customers' keys, the issuer for public names, the key that wrapped customers' keys before, the
    approvers' first root."""

    trust_domain: str
    authority: Authority
    online: Signer | None = None
    log: Path | None = None
    data_key: PlatformKey | None = None
    public: PublicIssuer | None = None
    former_data_key: PlatformKey | None = None
    approvers_root: bytes | None = None
    _environment: tuple[int, Environment | None] | None = field(default=None, repr=False)

    def publishing_key(self) -> Signer:
        """The online key.

        Raises:
            ProblemError: this controller has none.
        """
        if self.online is None:
            raise ProblemError(
                409, "online-key-missing", "this controller holds no online key", "publish at another one"
            )
        return self.online

    def identity(self, connection: Connection, node: str, uri: str) -> tuple[str, str, tuple[str, ...]]:
        """Role, name and addresses of an identity that a node may hold for the hosts it enforces.

        Raises:
            ProblemError: no host of that node has it.
        """
        environment = self.environment(connection)
        hosts = hosts_of(environment, node) if environment else []
        for host in hosts:
            if host.identity == uri:
                return "node", uri.rpartition("/")[2], tuple(map(str, host.addresses))
        if environment is not None:
            for service in environment.services.values():
                serving = [host for host in hosts if host.name in service.hosts]
                if service.identity == uri and serving:
                    addresses = dict.fromkeys(str(address) for host in serving for address in host.addresses)
                    _, _, rest = uri.partition("://")
                    _, role, name = rest.split("/")
                    return role, name, tuple(addresses)
        raise ProblemError(403, "identity-not-yours", f"{uri} belongs to no host of {node} in what is published")

    def environment(self, connection: Connection) -> Environment | None:
        """What is published; read once for each version, since whoever changes it raises its topic's number."""
        number = connection.execute(select(revisions.c.number).where(revisions.c.topic == "environment")).scalar()
        if number is None:
            return None
        if self._environment is None or self._environment[0] != number:
            _, text = published(connection, self.approvers_root)
            self._environment = (number, None if text is None else from_bytes(text))
        return self._environment[1]


def hosts_of(environment: Environment, node: str) -> list[Host]:
    """The hosts of a node's machine."""
    machine = machine_of(environment, node)
    return [host for host in environment.hosts.values() if host.machine == machine]


def machine_of(environment: Environment, node: str) -> str:
    """The machine of a node, which is called after it, or after the host on it where it runs."""
    own = environment.hosts.get(node)
    return node if own is None else own.machine


def published(connection: Connection, pinned: bytes | None) -> tuple[models.EnvironmentState, bytes | None]:
    """What is published, and its text.

    Args:
        pinned: the approvers' first root, if this controller was given it.

    Raises:
        ControlError: the repository is damaged, or begins with another root.
    """
    store = DatabaseStore(connection, pinned)
    try:
        if store.read(METADATA, "1.root.json") is None:
            return NOTHING, None
        found = Repository(store).published()
    except PublishingError as error:
        raise ControlError(error.code, error.message, error.hint) from error
    root = found.root.signed.version
    if found.targets is None or found.environment is None:
        return NOTHING.model_copy(update={"root": root}), None
    digest = next(iter(found.targets.signed.targets.values())).hashes["sha256"]
    expires = _expiry(store)
    return models.EnvironmentState(version=found.version, root=root, digest=digest, expires=expires), found.environment


def _expiry(store: DatabaseStore) -> datetime | None:
    data = store.read(METADATA, "timestamp.json")
    return None if data is None else Metadata[Timestamp].from_bytes(data).signed.expires
