"""An environment in the kernel of this machine: build it, read it back, break one mechanism, mend it, take it down.

Needs the right to administer network namespaces: root, or root in a user namespace (`ringfort.lab.rootless`). Nothing
here may run inside an asyncio loop. One command at a time works on a lab (`Lab.locked`).
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Environment
from ringfort.environment.topology import Device, DeviceKind, devices
from ringfort.errors import RingfortError
from ringfort.lab import (
    building,
    control,
    control_plane,
    gates,
    mechanisms,
    netlink,
    netns,
    nft,
    nodes,
    plan,
    readback,
    state,
    wiring,
)
from ringfort.lab.authority import Authority
from ringfort.lab.changes import Changes
from ringfort.lab.plane import Plane
from ringfort.lab.shapes import namespace_name
from ringfort.lab.standing import Standing, standing
from ringfort.lab.taking_down import take_down

LOCK_SECONDS = 60.0
"""How long one command waits for another that works on the same lab."""

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    return


@contextmanager
def _orderly() -> Iterator[None]:
    """Let a SIGTERM unwind the block, so that what was switched off is switched on again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Lab:
    """The lab of one environment. Cheap to make: nothing is opened before the first call. Close it, or use ``with``."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._connections = netlink.Connections()
        self._lock_depth = 0
        self._off: set[mechanisms.Mechanism] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections into the lab; the lab itself stays."""
        self._connections.close()

    # --- building ---------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self, wait_seconds: float = LOCK_SECONDS, progress: Progress = _silent) -> Iterator[None]:
        """Hold the lab: nobody else changes it meanwhile. May be nested.

        Raises:
            RingfortError: someone else still holds it after ``wait_seconds``; the message says who.
        """
        self._lock_depth += 1
        try:
            if self._lock_depth > 1:
                yield
                return
            with state.lock(self.environment.name, wait_seconds, lambda who: progress(f"waiting: {who}")), _orderly():
                yield
        finally:
            self._lock_depth -= 1

    def renew_keys(self) -> int:
        """Renew the keys that callers of this lab show and that are past two thirds of their life; how many were.

        Where nodes keep the services' own. Without them those end, too, and it takes an `up`.
        """
        return building.renew_keys(self.environment) if self.environment.control is not None else 0

    def up(self, progress: Progress = _silent, *, dry_run: bool = False) -> Changes:
        """Build the environment, or change what differs from it. With ``dry_run`` only say what would change.

        It fails closed: the rules are in a namespace before its links go up. Killed at any point, the next ``up``
        goes on from there.

        Raises:
            RingfortError: a namespace of somebody else has a name we need (nothing is changed then), or the kernel
                refuses something.
        """
        begin = time.monotonic()
        with self.locked(progress=progress):
            changes = building.build(self.environment, self.active(), self._connections, progress, dry_run=dry_run)
        changes.seconds = time.monotonic() - begin
        return changes

    def down(self, progress: Progress = _silent, *, dry_run: bool = False) -> Changes:
        """Remove everything: processes, namespaces, keys, state. Doing it twice is fine."""
        self.close()
        with self.locked(progress=progress):
            return take_down(self.environment.name, progress, dry_run=dry_run)

    def is_up(self) -> bool:
        """Whether all namespaces are there and the services run; says nothing of the rules."""
        wanted = plan.plan(self.environment, self.active())
        needs_services = any(host.services for host in self.environment.hosts.values())
        return all(netns.is_namespace(name) for name in wanted) and (
            not needs_services or bool(control.running(self.environment.name))
        )

    # --- reading back -----------------------------------------------------------------------------------------------

    def read_back(self) -> tuple[dict[Device, dict[str, Any]], dict[str, tuple[IdentityCheck, ...]]]:
        """What is really enforced: every device's ruleset as ``nft --json list ruleset`` gives it, and by host the
        identity checks that its services make.

        A device whose rules are gone has a document without tables. Isolation of a switch's ports is not in it (the
        rules say the same once more); see `isolated_ports`.

        Raises:
            RingfortError: a namespace is gone, or the services don't answer.
        """
        return readback.read_back(self.environment)

    def read_device(self, device: Device) -> dict[str, Any]:
        """One device's ruleset as ``nft --json list ruleset`` gives it."""
        return nft.ruleset(self.namespace(device))

    def identity_checks(self) -> dict[str, tuple[IdentityCheck, ...]]:
        """By host (every host, in file order), the checks that are really made now, in the order of its services.

        Raises:
            RingfortError: the services or an enforcement point don't answer.
        """
        return readback.identity_checks(self.environment)

    def standing(self) -> Standing | None:
        """How the control plane stands; None if the environment declares none."""
        plane = Plane.of(self.environment)
        return standing(plane) if plane is not None else None

    def isolated_ports(self, segment: str) -> dict[str, bool]:
        """The ports of a segment's switch, by interface name, and whether the kernel isolates them from each other."""
        seen = netlink.observe(self._connections, self.namespace(Device(DeviceKind.SWITCH, segment)))
        return {name: link.link.port.isolated for name, link in seen.links.items() if link.link.port is not None}

    def counters(self, device: Device) -> dict[str, int]:
        """Packets of every named counter of a device. About a millisecond."""
        return nft.counters(self.namespace(device))

    def service_counts(self) -> dict[tuple[str, str], Mapping[str, int]]:
        """By (service, host): how often a caller was ``accepted`` or refused, by reason (`ringfort.gateway.haproxy`).

        Counts begin anew when an enforcement point gets another configuration.
        """
        _, behind = gates.read(self.environment, self.keys)
        plane = Plane.of(self.environment)
        own = control_plane.counts(plane) if plane is not None else {}
        return {**control.read(self.environment.name).counts, **behind, **own}

    # --- breaking and mending ---------------------------------------------------------------------------------------

    def active(self) -> dict[str, str]:
        """The active router of each site."""
        return plan.active_routers(self.environment, state.load(self.environment.name, building.ACTIVE))

    def activate(self, site: str, router: str) -> None:
        """Make ``router`` the active one of its site; the other one's legs go down.

        Raises:
            RingfortError: the site has no such router.
        """
        if site not in self.environment.sites or router not in self.environment.sites[site].routers:
            raise RingfortError("unknown-router", f"site {site!r} has no router {router!r}")
        with self.locked():
            before = self.active()
            active = before | {site: router}
            state.save(self.environment.name, building.ACTIVE, active)
            affected = building.namespaces_of_site(self.environment, site)
            plans = plan.plan(self.environment, before), plan.plan(self.environment, active)
            wiring.rewire(*plans, affected, self._connections)

    def disable(self, mechanism: str) -> None:
        """Switch one mechanism off, as its failure would: rules gone, ports no longer isolated, callers not checked.

        ``router-filter:R``, ``port-security:SITE/SEGMENT``, ``host-firewall:H``, ``identity:SERVICE`` or
        ``identity:SERVICE@HOST``. `restore`, or the next `up`, mends it.

        Raises:
            RingfortError: there is no such mechanism.
        """
        self._switch(mechanisms.parse(self.environment, mechanism), on=False)

    def restore(self, mechanism: str) -> None:
        """Switch one mechanism on again, exactly as it was compiled.

        Raises:
            RingfortError: there is no such mechanism.
        """
        self._switch(mechanisms.parse(self.environment, mechanism), on=True)

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """Run the block with these mechanisms switched off; they are on again afterwards, whatever happened."""
        with self.locked(), ExitStack() as restoring:
            for name in names:
                mechanism = mechanisms.parse(self.environment, name)
                restoring.callback(self._switch, mechanism, on=True)  # each one, even if another fails
                self._switch(mechanism, on=False)
            yield

    def _switch(self, mechanism: mechanisms.Mechanism, *, on: bool) -> None:
        with self.locked():
            plane, touched = Plane.of(self.environment), mechanisms.devices_of(self.environment, mechanism)
            if plane is not None and not on:
                nodes.pause(plane, touched)  # they would mend what we break
            if mechanism.device is None:
                building.switch(self.environment, mechanism.service, mechanism.host, on=on)
            else:
                self._switch_rules(mechanism.device, on=on)
            (self._off.discard if on else self._off.add)(mechanism)
            if plane is not None and on:
                self._resume(plane, touched)

    def _resume(self, plane: Plane, touched: tuple[Device, ...]) -> None:
        """Let nodes go on where nothing is switched off any more: they would mend the rest, while we do."""
        still = {plane.node_of(one) for other in self._off for one in mechanisms.devices_of(self.environment, other)}
        nodes.resume(plane, [device for device in touched if plane.node_of(device) not in still])

    def _switch_rules(self, device: Device, *, on: bool) -> None:
        nft.run(self.namespace(device), building.rules_text(self.environment, device) if on else "flush ruleset")
        if device.kind is DeviceKind.SWITCH:
            building.isolate(self.environment, self.active(), self._connections, device, isolated=on)

    def reset(self) -> None:
        """Forget what devices have learnt of past packets: scanners, connection counts, tracked connections."""
        with self.locked():
            for device in devices(self.environment):
                if device.kind is not DeviceKind.SWITCH:
                    nft.forget_connections(self.namespace(device))
                if device.kind is DeviceKind.ROUTER:
                    nft.flush_dynamic_sets(self.namespace(device))

    # --- places and keys --------------------------------------------------------------------------------------------

    def namespace(self, place: Device | str) -> str:
        """The namespace of a device, or of ``internet``, ``visitor``, ``attacker`` or ``backbone``; for
        ``ip netns exec``."""
        return namespace_name(self.environment, place)

    def inside(self, place: Device | str) -> AbstractContextManager[None]:
        """Run a block, in this thread, inside the place's namespace.

        Sockets opened in it stay there after the block, so a probe opens its sockets inside and uses them from
        anywhere, a thousand of them in one loop.
        """
        return netns.inside(self.namespace(place))

    @property
    def keys(self) -> Path:
        """The directory of keys and certificates. `ringfort.lab.client` reads them."""
        return state.keys(self.environment.name)

    def authority(self) -> Authority:
        """The lab's authority with its key: whoever holds it can make any certificate, and the drill plays just that.

        Raises:
            RingfortError: the lab is not up.
        """
        found = Authority.open(self.keys)
        if found is None:
            raise RingfortError("no-authority", "the lab has no authority", "run `ringfort up` first")
        return found
