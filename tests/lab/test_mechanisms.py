"""Names of mechanisms mean exactly one thing, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfort.environment.topology import Device, DeviceKind
from ringfort.errors import RingfortError
from ringfort.lab.mechanisms import Mechanism, parse
from tests.lab import worlds


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("router-filter:r1", Mechanism("router-filter:r1", Device(DeviceKind.ROUTER, "r1"))),
        ("port-security:north/back", Mechanism("port-security:north/back", Device(DeviceKind.SWITCH, "north/back"))),
        ("host-firewall:web-1", Mechanism("host-firewall:web-1", Device(DeviceKind.HOST, "web-1"))),
        ("identity:app", Mechanism("identity:app", service="app")),
        ("identity:app@app-2", Mechanism("identity:app@app-2", service="app", host="app-2")),
    ],
)
def test_a_name_means_one_mechanism(tmp_path: Path, name: str, meant: Mechanism) -> None:
    assert parse(worlds.environment(tmp_path, worlds.SMALL, "names"), name) == meant


@pytest.mark.parametrize(
    "name", ["", "router-filter", "router-filter:web-1", "identity:app@web-1", "identity:", "x:r1"]
)
def test_any_other_name_is_refused_with_the_kinds_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(RingfortError, match="there is no mechanism") as refused:
        parse(worlds.environment(tmp_path, worlds.SMALL, "names"), name)
    assert "port-security:SITE/SEGMENT" in refused.value.hint
