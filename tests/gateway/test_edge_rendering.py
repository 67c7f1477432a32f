"""Whatever may be public, the real HAProxy takes its configuration, and nothing in it is other than meant."""

from __future__ import annotations

import re
import subprocess
import tempfile
from ipaddress import ip_address
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ringfort.gateway.edge.model import ENDED_HERE, Edge, EdgeError, Endpoint, Health, Limits, Server, TlsMode
from ringfort.gateway.edge.render import Place, backends, render
from ringfort.gateway.process import PROGRAM

HERE = ip_address("192.0.2.1")
PLACE = Place("/run/ringfort/edge")

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "example"]))
WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True)
SERVERS = st.builds(Server, WORDS, st.ip_addresses(), st.integers(1, 65535))
PATHS = st.from_regex(r"/[A-Za-z0-9._~!&()*+,;=:@/%?-]{0,20}", fullmatch=True)


@st.composite
def endpoints(draw: st.DrawFn) -> Endpoint:
    tls = draw(st.sampled_from(TlsMode))
    servers = draw(st.lists(SERVERS, max_size=3, unique_by=lambda server: server.name))
    return Endpoint(
        draw(NAMES), draw(WORDS), draw(WORDS), tls, tuple(servers),
        Health(draw(st.one_of(st.just(""), PATHS)), draw(st.integers(1, 60))),
        "/run/certificate.pem" if tls in ENDED_HERE and draw(st.booleans()) else "",
        tls is not TlsMode.OFF and draw(st.booleans()),
        draw(st.sampled_from([0, 8080])) if tls is TlsMode.PASSTHROUGH else 0,
    )  # fmt: skip


EDGES = st.builds(
    lambda found, addresses, passthrough, limit: Edge(
        tuple(addresses), tuple(found), tuple(passthrough), {one.customer: Limits(limit, limit) for one in found}
    ),
    st.lists(endpoints(), max_size=5, unique_by=lambda one: one.name),
    st.lists(st.ip_addresses(), min_size=1, max_size=2, unique=True),
    st.lists(st.ip_addresses(), max_size=1),
    st.integers(1, 100_000),
)


@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(edge=EDGES)
def test_haproxy_takes_the_configuration_of_any_edge(edge: Edge) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Place(directory)
        for path, text in render(edge, place).files.items():
            lines = [line for line in text.splitlines() if path == place.configuration]
            # a certificate is read when it is checked; what is asked here is about all the rest
            kept = [re.sub(r" ssl crt-list.*", "", line) for line in lines]
            Path(path).write_text("\n".join(kept) + "\n" if lines else text)
        done = subprocess.run([PROGRAM, "-c", "-f", place.configuration], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "[ALERT]" not in done.stderr


def test_the_digest_is_of_everything_but_where_instances_are() -> None:
    def edge(place: str, name: str = "a", customer: str = "acme", path: str = "/", limit: int = 5) -> Edge:
        server = Server(name, ip_address(place), 80)
        one = Endpoint("www.shop.example", customer, "shop", TlsMode.OFF, (server,), Health(path))
        return Edge((HERE,), (one,), limits={"acme": Limits(limit)})

    base = render(edge("10.0.0.1"), PLACE)
    assert render(edge("10.0.0.2"), PLACE).digest == base.digest
    assert render(edge("10.0.0.2"), PLACE).files != base.files
    others = [
        edge("10.0.0.1", name="b"), edge("10.0.0.1", customer="zeta"), edge("10.0.0.1", path="/x"),
        edge("10.0.0.1", limit=6),
    ]  # fmt: skip
    digests = [base.digest, *(render(other, PLACE).digest for other in others)]
    assert len(set(digests)) == len(digests)
    assert f'"{base.digest}"' in base.files[PLACE.configuration]


@given(
    text=st.text(min_size=1, max_size=30),
    where=st.sampled_from(["name", "customer", "application", "path", "server", "file"]),
)
def test_no_text_becomes_another_line_or_another_word(text: str, where: str) -> None:
    """What the model takes stands in the configuration as one word; what could be more is refused."""
    values = {"name": "www.shop.example", "customer": "acme", "application": "shop", "path": "/", "server": "a"}
    values |= {"file": "/x.pem", where: text}
    try:
        server = Server(values["server"], HERE, 80)
        one = Endpoint(
            values["name"], values["customer"], values["application"], TlsMode.PLATFORM, (server,),
            Health(values["path"]), values["file"],
        )  # fmt: skip
    except EdgeError:
        return
    rendered = render(Edge((HERE,), (one,)), PLACE).files
    good = Endpoint("n.example", "c", "a", TlsMode.PLATFORM, (Server("s", HERE, 80),), Health("/p"), "/f")
    model = render(Edge((HERE,), (good,)), PLACE).files
    for path, whole in rendered.items():
        expected = model[path] if values["path"] else ""
        if expected:
            assert [len(line.split()) for line in whole.splitlines()] == [
                len(line.split()) for line in expected.splitlines()
            ]
        assert not {'"', "\\", "\0"} & set(text if text in whole else "")


def test_every_server_of_every_door_is_told() -> None:
    server = Server("a", HERE, 443)
    passing = Endpoint("p.example", "acme", "shop", TlsMode.PASSTHROUGH, (server,), challenge_port=8080)
    plain = Endpoint("o.example", "acme", "shop", TlsMode.OFF, (server,))
    assert backends(Edge((HERE,), (passing, plain))) == {
        "passthrough:p.example": (server,), "challenge:p.example": (Server("a", HERE, 8080),), "o.example": (server,),
    }  # fmt: skip
