"""``ringfort diff``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.environment.declare import SOUND, edited

CHANGED = edited(
    ("count: 2", "count: 6"),
    ("  - {from: orders, to: database}\n", ""),
    ("[5432], tls: mutual", "[5432], tls: server"),
    ("  - {service: ping, provider: north/alpha, address: 198.51.100.4, host: web-1}\n", ""),
    ("  - {from: internet, to: ping}\n", ""),
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "old.yaml").write_text(SOUND)
    return tmp_path / "old.yaml"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "new.yaml").write_text(CHANGED)
    return tmp_path / "new.yaml"


def test_the_same_meaning_exits_with_0(old: Path) -> None:
    assert run("diff", old, old) == (0, "same  both environments mean the same\n", "")


def test_a_difference_is_told_for_people_and_exits_with_1(old: Path, new: Path) -> None:
    ran = run("diff", old, new)
    assert ran.code == 1
    assert ran.err == ""
    assert ran.out.splitlines() == [
        "opened  flow web-to-app: service:web -> app, 4 pairs of hosts",
        "    web-3 -> app tcp/8443 over IPv4 and IPv6",
        "    web-4 -> app tcp/8443 over IPv4 and IPv6",
        "    web-5 -> app tcp/8443 over IPv4 and IPv6",
        "    and 1 more",
        "closed  flow internet-to-ping: internet -> ping, 1 host",
        "    internet -> web-1 icmp over IPv4",
        "closed  flow orders-to-database: service:orders -> database, 2 pairs of hosts",
        "    orders-north-back -> db tcp/5432 over IPv4 and IPv6",
        "    orders-south-back -> db tcp/5432 over IPv4 and IPv6",
        "withdrawn  ping at 198.51.100.4 icmp (north/alpha) -> web-1",
        "added  host web-3 in north/edge at 10.1.1.4, fd00:1:0:1::4",
        "added  host web-4 in north/edge at 10.1.1.5, fd00:1:0:1::5",
        "added  host web-5 in north/edge at 10.1.1.6, fd00:1:0:1::6",
        "added  host web-6 in north/edge at 10.1.1.7, fd00:1:0:1::7",
        "changed  service database: tls: mutual -> server",
    ]


def test_scripts_get_all_of_it_as_json(old: Path, new: Path) -> None:
    ran = run("diff", old, new, "--format", "json")
    assert ran.code == 1
    told = json.loads(ran.out)
    assert told["same"] is False
    assert told["opened"][0]["flow"] == "web-to-app"
    assert len(told["opened"][0]["communications"]) == 8
    assert told["opened"][0]["communications"][0] == {
        "from": "web-3",
        "to": "app",
        "family": 4,
        "protocol": "tcp",
        "ports": ["8443"],
    }
    assert told["changed"] == [
        {"subject": "service database", "attribute": "tls", "before": "mutual", "after": "server"}
    ]
    assert json.loads(run("diff", old, old, "--format", "json").out)["same"] is True


def test_a_refused_environment_exits_with_2(old: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("environment: 7\n")
    ran = run("diff", old, tmp_path / "bad.yaml")
    assert ran.code == 2
    assert ran.out == ""
    assert "bad.yaml:1:14: '7' is a number" in ran.err
