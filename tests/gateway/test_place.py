"""A path stands in HAProxy's configuration as it is, or not at all."""

from __future__ import annotations

import string
import subprocess
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import PortRange, Protocol, Tls
from ringfort.gateway.edge.model import Edge, Endpoint, TlsMode
from ringfort.gateway.edge.render import Place
from ringfort.gateway.edge.render import render as edge
from ringfort.gateway.haproxy import Configuration, Files, Guarded
from ringfort.gateway.haproxy import render as point
from ringfort.gateway.process import PROGRAM

TAKEN = "._@+=~-"


def edge_in(directory: str) -> Configuration:
    endpoint = Endpoint("www.shop.example", "acme", "shop", TlsMode.OFF, ())
    return edge(Edge((ip_address("192.0.2.1"),), (endpoint,)), Place(directory))


def point_in(directory: str) -> Configuration:
    check = IdentityCheck("web", Protocol.TCP, (PortRange(443, 443),), Tls.MUTUAL, frozenset({"spiffe://a/node/b"}))
    return point([Guarded(check, (ip_address("192.0.2.1"),), "/c.pem")], Files(directory, "/b.pem", ""))


@pytest.mark.parametrize("make", [edge_in, point_in])
def test_what_would_mean_something_else_is_refused(make: Callable[[str], Configuration]) -> None:
    for character in {*string.printable, "\0", "\u00a0", "é"} - {*string.ascii_letters, *string.digits, *TAKEN, "/"}:
        with pytest.raises(ValueError, match="mean something"):
            make(f"/run/a{character}b")


def test_haproxy_takes_all_others_for_what_they_are(tmp_path: Path) -> None:
    directory = tmp_path / f"a{TAKEN}b"
    directory.mkdir()
    for path, text in edge_in(str(directory)).files.items():
        Path(path).write_text(text)
    done = subprocess.run(
        [PROGRAM, "-c", "-f", str(directory / "haproxy.cfg")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
