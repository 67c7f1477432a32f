"""What the service process is told to open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import PortRange, Protocol, Tls
from ringfort.lab.listeners import PORTS_OPENED_PER_RANGE, Listener, digest, listeners, opened_ports
from ringfort.network.identity import identity_checks
from tests.lab import worlds


def check(*ports: PortRange, protocol: Protocol = Protocol.TCP) -> IdentityCheck:
    return IdentityCheck("app", protocol, ports, Tls.MUTUAL, frozenset({"spiffe://lab.example/node/web"}))


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_ends_of_every_range_are_open_and_nothing_outside_it(one: int, other: int) -> None:
    first, last = sorted((one, other))
    opened = list(opened_ports(check(PortRange(first, last))))
    assert {first, last} <= set(opened)
    assert len(opened) == len(set(opened)) == min(last - first + 1, PORTS_OPENED_PER_RANGE)
    assert all(first <= port <= last for port in opened)


def test_icmp_is_the_kernels() -> None:
    assert list(opened_ports(check(protocol=Protocol.ICMP))) == []


def test_every_service_on_every_host_listens(tmp_path: Path) -> None:
    small = worlds.environment(tmp_path, worlds.SMALL, "listen")
    found = listeners(small, identity_checks(small), {})
    assert {(listener.check.service, listener.host) for listener in found} == {
        (service.name, host) for service in small.services.values() for host in service.hosts
    }


def test_a_service_under_tls_listens_on_loopback_only_behind_its_enforcement_point(tmp_path: Path) -> None:
    small = worlds.environment(tmp_path, worlds.SMALL, "listen")
    found = listeners(small, identity_checks(small), {})
    behind = {listener.check.service for listener in found if listener.is_behind}
    assert behind == {service.name for service in small.services.values() if service.tls is not Tls.NONE}
    assert all((listener.addresses == ("127.0.0.1",)) is listener.is_behind for listener in found)


def test_a_listener_survives_its_json() -> None:
    listener = Listener("web", "rf-x.web", 7, ("10.0.0.1", "fd00::1"), check(PortRange(1, 2)))
    assert Listener.from_json(json.loads(json.dumps(listener.to_json()))) == listener


def test_whatever_matters_changes_the_digest() -> None:
    listener = Listener("web", "rf-x.web", 7, ("10.0.0.1",), check(PortRange(1, 2)))
    other_checks = (
        replace(listener.check, callers=frozenset()),
        replace(listener.check, tls=Tls.SERVER),
        replace(listener.check, ports=(PortRange(1, 3),)),
    )
    changed = [
        digest(()),
        digest((replace(listener, inode=8),)),
        digest((replace(listener, addresses=("10.0.0.2",)),)),
        *(digest((replace(listener, check=other),)) for other in other_checks),
    ]
    assert digest((listener,)) not in changed
    assert len(set(changed)) == len(changed)
