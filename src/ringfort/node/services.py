"""Keys and certificates of the services on this machine's hosts: asked for, renewed at two thirds of their life.

Those of services behind an enforcement point, and of the gateway, are in the state directory; others, for who calls
others or checks callers for itself, where the node's configuration says.
A key is made here and never leaves. What a service is called, and which addresses its certificate names, a controller
takes from what the approvers signed. For one thread, but for `want`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ringfort.errors import RingfortError
from ringfort.identity import store
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import new_key
from ringfort.identity.credential import Credential, renew_at
from ringfort.identity.errors import IdentityError
from ringfort.identity.names import parse
from ringfort.node import clock, guarding, membership
from ringfort.node.errors import ControllerError
from ringfort.node.gates import Gate
from ringfort.node.material import Material
from ringfort.node.policy import Guard
from ringfort.node.ports import Controller

_AT_ONCE = datetime.min.replace(tzinfo=UTC)

RETRY = timedelta(minutes=1)
"""How long after a renewal has failed it is tried again, while the certificate before is still good."""


class Services:
    """The certificates that are wanted.

    Args:
        others: identity -> where its key and certificate are kept besides.
    """

    def __init__(
        self, state: Path, material: Material, others: Mapping[str, Path], now: Callable[[], datetime] = clock.now
    ) -> None:
        self._state = state
        self._material = material
        self._others = others
        self._now = now
        self._wanted: Mapping[str, Guard] | None = None
        self._gates: Mapping[str, Gate] = {}
        self._due: dict[Path, datetime] = {}

    def want(self, guards: Mapping[str, Guard], gates: Mapping[str, Gate]) -> None:
        """Which enforcement points and gateway hosts there are now, by host; from any thread."""
        self._gates = gates
        self._wanted = guards

    def missing(self, host: str, guard: Guard) -> tuple[str, ...]:
        """The services of a host that have no certificate yet."""
        return tuple(name for name in guard.identities if not guarding.certificate(self._state, host, name).exists())

    def renew_if_due(self, controller: Controller, bundle: Bundle) -> None:
        """Ask for the certificates that are missing, another's, or past two thirds of their life.

        Raises:
            ControllerError: some could not be had; the others are there.
        """
        failures = []
        for path, identity in list(self._places()):
            if self._now() < self._due_at(path, identity):
                continue
            try:
                self._renew(path, identity, controller, bundle)
            except RingfortError as error:
                failures.append(f"{identity}: {error.message}")
                if path.exists():
                    self._due[path] = self._now() + RETRY
        if failures:
            raise ControllerError("not-renewed", "; ".join(failures))

    def _places(self) -> Iterator[tuple[Path, str]]:
        if self._wanted is None:  # before an environment is in force nobody has any
            return
        for host, guard in self._wanted.items():
            for service, identity in guard.identities.items():
                yield guarding.certificate(self._state, host, service), identity
        for host, gate in self._gates.items():
            yield guarding.certificate(self._state, host, gate.service), gate.identity
        for identity, path in self._others.items():
            yield path, identity

    def _due_at(self, path: Path, identity: str) -> datetime:
        known = self._due.get(path)
        if known is not None and path.exists():
            return known
        try:
            found = store.read_credential(path)
        except IdentityError:  # it isn't there, or is damaged
            return _AT_ONCE
        self._due[path] = renew_at(found.leaf) if found.identity.uri == identity else _AT_ONCE
        return self._due[path]

    def _renew(self, path: Path, identity: str, controller: Controller, bundle: Bundle) -> None:
        key = new_key()
        chain = controller.renew(membership.request(key), identity)
        found: Credential = membership.credential_of(chain, key, parse(identity), bundle, self._now())
        if identity in self._others and path == self._others[identity]:
            store.write_credential(path, found)
            path.chmod(0o640)  # for the group of a directory that hands it on (setgid)
        else:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with self._material.replaced():
                store.write_credential(path, found)
        self._due[path] = renew_at(found.leaf)
