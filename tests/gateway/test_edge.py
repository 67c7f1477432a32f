"""A real edge in front of real applications: what visitors get, what they don't, and what they don't notice."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from ringfort.gateway import process, runtime
from ringfort.gateway.edge import running, servers
from ringfort.gateway.edge.model import EdgeError, Endpoint, Limits, Server, SourceLimits, TlsMode
from ringfort.gateway.edge.render import BODY_SECONDS, HEADERS_SECONDS, IDLE_SECONDS
from ringfort.identity.certificates import new_key, to_pem
from ringfort.lab.state import write_private
from tests.gateway.edges import EDGE, Application, World, answer, ask, world

WWW, SHOP, OFF, PASS = (f"{word}.shop.example" for word in ("www", "shop", "off", "pass"))


@pytest.fixture(scope="module")
def edge() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture
def app(edge: World) -> Iterator[Application]:
    found = edge.application("one")
    yield found
    edge.applications.remove(found)
    found.close()


def permissive(world: World, name: str) -> ssl.SSLContext:
    """A server that takes whatever a client can do: it shows that a refusal is the edge's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.certificate(name))
    versions(context, "TLSv1", "TLSv1_3")
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return context


def versions(context: ssl.SSLContext, first: str, last: str) -> None:
    """Let it speak these, old as they may be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion[first], ssl.TLSVersion[last]


def handshake(world: World, name: str | None, context: ssl.SSLContext, port: int = 0) -> str:
    """The version and suite that are agreed on; "" when there is no agreement."""
    with socket.create_connection((EDGE, port or world.edge.tls_port), timeout=10) as raw:
        try:
            with context.wrap_socket(raw, server_hostname=name) as connection:
                suite = connection.cipher()
                assert suite is not None
                return f"{connection.version()} {suite[0]}"
        except (ssl.SSLError, ConnectionError):
            return ""


OLD = [
    pytest.param("TLSv1", "ALL:@SECLEVEL=0", id="TLS 1.0"),
    pytest.param("TLSv1_1", "ALL:@SECLEVEL=0", id="TLS 1.1"),
    pytest.param("TLSv1_2", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0", id="not authenticated (CBC)"),
    pytest.param("TLSv1_2", "ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0", id="CBC with SHA-2"),
    pytest.param("TLSv1_2", "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0", id="a short tag"),
    pytest.param("TLSv1_2", "ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0", id="no encryption"),
]


@pytest.mark.parametrize(("version", "suites"), OLD)
def test_old_versions_and_weak_suites_are_refused(edge: World, app: Application, version: str, suites: str) -> None:
    edge.serve(edge.endpoint(WWW, app.server()))
    context = edge.context()
    versions(context, version, version)
    context.set_ciphers(suites)
    lax = edge.application("lax", permissive(edge, WWW))
    assert handshake(edge, WWW, context, lax.port), "the client could, if it were let"
    assert handshake(edge, WWW, context) == ""


GOOD = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]


@pytest.mark.parametrize("suite", GOOD)
def test_tls_1_2_is_served_with_modern_suites(edge: World, app: Application, suite: str) -> None:
    edge.serve(edge.endpoint(WWW, app.server()))
    context = edge.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suite)
    assert handshake(edge, WWW, context) == f"TLSv1.2 {suite}"


def test_a_weak_key_exchange_is_refused(edge: World, app: Application) -> None:
    edge.serve(edge.endpoint(WWW, app.server()))
    weak, good = edge.context(), edge.context()
    weak.set_ecdh_curve("secp224r1")
    good.set_ecdh_curve("secp384r1")
    assert handshake(edge, WWW, good) == "TLSv1.3 TLS_AES_128_GCM_SHA256"
    assert handshake(edge, WWW, weak) == ""


def curl(world: World, url: str, *options: str) -> tuple[str, str]:
    """Version and status, as an ordinary client sees them; and the body."""
    name = url.partition("//")[2].partition("/")[0].partition(":")[0]
    words = ["curl", "-sS", "--cacert", world.bundle, "--max-time", "20", "-w", "\n%{http_version} %{http_code}"]
    words += ["--connect-to", f"{name}:443:{EDGE}:{world.edge.tls_port}", *options, url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    body, _, status = done.stdout.rpartition("\n")
    return status, body


def test_http_1_and_2_are_served(edge: World, app: Application) -> None:
    edge.serve(edge.endpoint(WWW, app.server()))
    assert curl(edge, f"https://{WWW}/", "--http2") == ("2 200", "one 0\n")
    assert curl(edge, f"https://{WWW}/", "--http1.1") == ("1.1 200", "one 0\n")
    assert curl(edge, f"https://{WWW}/", "--http2", "-d", "x" * 5000) == ("2 200", "one 5000\n")


def test_each_name_has_its_own_certificate_and_others_have_none(edge: World, app: Application) -> None:
    two = edge.application("two")
    edge.serve(edge.endpoint(WWW, app.server()), edge.endpoint(SHOP, two.server(), customer="zeta"))
    for name, body in ((WWW, b"one 0\n"), (SHOP, b"two 0\n")):
        with edge.visit(name) as connection:
            shown = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
            names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == [name]
            assert ask(connection, name)[2] == body
    anything = edge.context()
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    assert handshake(edge, SHOP, anything)
    for stranger in ("other.shop.example", "shop.example", f"x.{WWW}", None):
        assert handshake(edge, stranger, anything) == "", f"{stranger} is nobody's"


def test_a_name_is_reached_only_by_the_handshake_for_it(edge: World, app: Application) -> None:
    """Otherwise one customer's limits, and certificate, would be another's."""
    two = edge.application("two")
    edge.serve(edge.endpoint(WWW, app.server()), edge.endpoint(SHOP, two.server(), customer="zeta"))
    with edge.visit(WWW) as connection:
        assert ask(connection, WWW)[0] == 200
        assert ask(connection, SHOP)[0] == 421
        assert ask(connection, "other.example")[0] == 421
        assert ask(connection, WWW.upper() + ":443")[0] == 200
    for head in ("", f"Host: {WWW}\r\nHost: {SHOP}\r\n"):
        with edge.visit(WWW) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\n{head}\r\n".encode())
            assert answer(connection)[0] == 400
    assert two.served == 0


def test_an_application_hears_from_the_edge_who_visits_and_from_nobody_else(edge: World, app: Application) -> None:
    edge.serve(edge.endpoint(WWW, app.server()))
    forged = "".join(
        f"{name}: 6.6.6.6\r\n"
        for name in (
            "X-Forwarded-For",
            "X_Forwarded_For",
            "x-forwarded-proto",
            "Forwarded",
            "X-Real-IP",
            "Proxy",
            "TE",
            "Keep-Alive",
            "Proxy-Authorization",
        )
    )
    with edge.visit(WWW) as connection:
        _, headers, _ = ask(connection, WWW, extra=forged + "Accept: text/html\r\n")
    seen = {name.removeprefix("seen-"): value for name, value in headers.items() if name.startswith("seen-")}
    assert seen == {"host": WWW, "accept": "text/html", "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https"}
    assert not {"server", "x-powered-by"} & set(headers), "strangers don't hear what runs inside"


def test_one_request_is_never_taken_for_two(edge: World, app: Application) -> None:
    """What ends a request is read the same by the edge and by the application, or the request is refused."""
    edge.serve(edge.endpoint(WWW, app.server()))
    hidden = f"GET /hidden HTTP/1.1\r\nHost: {WWW}\r\n\r\n"
    for head in (
        f"Content-Length: {len(hidden)}\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        f"Content-Length: 0\r\nContent-Length: {len(hidden)}\r\n",
        "Content-Length: +0\r\n",
        f"Content-Length: 0, {len(hidden)}\r\n",
    ):
        paths: list[str] = []
        app.seen = paths
        with edge.visit(WWW) as connection:
            connection.sendall(f"POST / HTTP/1.1\r\nHost: {WWW}\r\n{head}\r\n0\r\n\r\n{hidden}".encode())
            connection.settimeout(1)
            with contextlib.suppress(OSError):
                while connection.recv(4096):
                    pass
        asked = [path for path in paths if path != "/health"]
        assert asked in ([], ["/"], ["/", "/hidden"]), head
        if asked == ["/", "/hidden"]:
            assert "chunked" in head, "a second request, for the edge too: the first had no more than `0`"
    app.seen = None


def test_plain_http_leads_to_tls_unless_an_endpoint_has_none(edge: World, app: Application) -> None:
    app.answers["/.well-known/acme-challenge/abc"] = "abc.thumb"
    edge.serve(edge.endpoint(WWW, app.server()), edge.endpoint(OFF, app.server(), tls=TlsMode.OFF))
    for name, path, status in (
        (OFF, "/", 200),
        (WWW, "/a?b=c", 308),
        ("other.example", "/", 404),
        (WWW, "/.well-known/acme-challenge/abc", 200),
        (WWW, "/.well-known/acme-challenge/../../", 308),
        ("other.example", "/.well-known/acme-challenge/abc", 404),
    ):
        with socket.create_connection((EDGE, edge.edge.plain_port), timeout=5) as connection:
            found, headers, _ = ask(connection, name, path)
            assert found == status, (name, path)
            if status == 308 and "?" in path:
                assert headers["location"] == f"https://{WWW}:{edge.edge.tls_port}/a?b=c"


def test_browsers_are_told_to_come_under_tls_only_where_that_is_asked_for(edge: World, app: Application) -> None:
    edge.serve(replace(edge.endpoint(WWW, app.server()), hsts=True), edge.endpoint(SHOP, app.server()))
    with edge.visit(WWW) as connection:
        assert ask(connection, WWW)[1]["strict-transport-security"] == "max-age=31536000"
    with edge.visit(SHOP) as connection:
        assert "strict-transport-security" not in ask(connection, SHOP)[1]


def test_one_customers_requests_are_limited_and_anothers_are_not(edge: World, app: Application) -> None:
    edge.serve(
        edge.endpoint(WWW, app.server()), edge.endpoint(SHOP, app.server(), customer="zeta"),
        limits={"acme": Limits(requests_per_second=20)},
    )  # fmt: skip
    with edge.visit(WWW) as connection, edge.visit(WWW) as again, edge.visit(SHOP) as other:
        found = [ask(one, WWW)[0] for _ in range(40) for one in (connection, again)]
        assert set(found[:15]) == {200}
        assert found.count(429) > 20
        assert {ask(other, SHOP)[0] for _ in range(80)} == {200}
        time.sleep(2)
        assert ask(connection, WWW)[0] == 200, "it passes"
    edge.edge = replace(edge.edge, limits={})


def opened(edge: World, name: str) -> ssl.SSLSocket | None:
    """A connection on which a request is answered."""
    try:
        connection = edge.visit(name)
    except OSError:
        return None
    try:
        ask(connection, name)
    except OSError:
        connection.close()
        return None
    return connection


def test_connections_are_limited_for_each_customer_and_for_each_source(edge: World, app: Application) -> None:
    edge.serve(
        edge.endpoint(WWW, app.server()), edge.endpoint(SHOP, app.server(), customer="zeta"),
        limits={"acme": Limits(connections=3)}, per_source=SourceLimits(connections=8),
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        ours = [stack.enter_context(one) for _ in range(5) if (one := opened(edge, WWW)) is not None]
        assert len(ours) == 3
        theirs = [stack.enter_context(one) for _ in range(8) if (one := opened(edge, SHOP)) is not None]
        assert len(theirs) == 5, "eight from one address"
    edge.serve(edge.endpoint(WWW, app.server()), limits={}, per_source=SourceLimits())


def test_connections_under_passthrough_are_limited_too(edge: World, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(edge.certificate(PASS))
    own, other = edge.application("inside", context), edge.application("other")
    edge.serve(
        edge.endpoint(PASS, own.server(), tls=TlsMode.PASSTHROUGH), edge.endpoint(WWW, other.server(), customer="zeta"),
        limits={"acme": Limits(connections=3)},
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(one) for _ in range(5) if (one := opened(edge, PASS)) is not None]
        assert len(found) == 3
        assert ask(stack.enter_context(edge.visit(WWW)), WWW)[0] == 200, "another customer's are not"
    edge.serve(edge.endpoint(WWW, other.server()), limits={})


def test_visitors_come_over_ipv6_too(edge: World, app: Application) -> None:
    edge.serve(edge.endpoint(WWW, app.server()), addresses=(ip_address(EDGE), ip_address("::1")))
    raw = socket.create_connection(("::1", edge.edge.tls_port), timeout=5)
    with raw, edge.context().wrap_socket(raw, server_hostname=WWW) as connection:
        assert ask(connection, WWW)[1]["seen-x-forwarded-for"] == "::1"
    edge.serve(edge.endpoint(WWW, app.server()), addresses=(ip_address(EDGE),))


def test_a_flood_of_new_connections_from_one_source_is_refused(edge: World, app: Application) -> None:
    edge.serve(edge.endpoint(WWW, app.server()), per_source=SourceLimits(new_connections_per_10_seconds=20))
    found = [opened(edge, WWW) for _ in range(30)]
    for one in found:
        if one is not None:
            one.close()
    assert 15 <= len([one for one in found if one is not None]) <= 20
    edge.serve(edge.endpoint(WWW, app.server()), per_source=SourceLimits())


def test_slow_visitors_are_cut_off_and_nobody_waits_for_them(edge: World, app: Application) -> None:
    edge.serve(edge.endpoint(WWW, app.server()))
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(edge.visit(WWW)) for _ in range(100)]
        body = stack.enter_context(edge.visit(WWW))
        body.sendall(f"POST / HTTP/1.1\r\nHost: {WWW}\r\nContent-Length: 900\r\n\r\n".encode())
        hello = stack.enter_context(socket.create_connection((EDGE, edge.edge.tls_port)))
        for one in slow:
            one.sendall(f"GET / HTTP/1.1\r\nHost: {WWW}\r\nX-Slow: ".encode())
        ended: dict[ssl.SSLSocket, float] = {}
        slowest = 0.0
        while len(ended) < len(slow) and time.monotonic() < started + 3 * HEADERS_SECONDS:
            for one in slow:
                if one not in ended and not trickle(one):
                    ended[one] = time.monotonic() - started
            trickle(body)
            before = time.monotonic()
            with edge.visit(WWW) as quick:
                assert ask(quick, WWW)[0] == 200
            slowest = max(slowest, time.monotonic() - before)
            time.sleep(0.2)
        assert len(ended) == len(slow)
        assert max(ended.values()) < HEADERS_SECONDS + 4
        assert slowest < 1.5
        while time.monotonic() < started + BODY_SECONDS + 5 and trickle(body):
            time.sleep(0.3)
        assert time.monotonic() - started < BODY_SECONDS + 4
        hello.settimeout(IDLE_SECONDS)
        assert hello.recv(100) == b"", "who never says hello is cut off too"


def trickle(connection: ssl.SSLSocket) -> bool:
    """Send one more byte; whether the other side still listens."""
    connection.settimeout(0.001)
    try:
        if connection.recv(1000) is not None:
            return False
    except TimeoutError:
        pass
    except OSError:
        return False
    try:
        connection.sendall(b"x")
    except OSError:
        return False
    return True


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificates(path.read_bytes())[0].public_bytes(Encoding.DER)


class Load:
    """Visitors who ask on connections that stay open, and on new ones, until they are told to stop."""

    def __init__(self, world: World, name: str, visitors: int = 4) -> None:
        self.world, self.name = world, name
        self.done, self.failed = 0, list[str]()
        self.names: set[bytes] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(number,)) for number in range(visitors)]

    def _visit(self, number: int) -> None:
        context, asked = self.world.context(), 0
        while not self._stop.is_set():
            try:
                with self.world.visit(self.name, context) as connection:
                    for _ in range(50 if number % 2 else 3):
                        status, headers, body = ask(connection, self.name)
                        asked += 1
                        self.names.add(body.split()[0])
                        if status != 200:
                            self.failed.append(f"{status}")
                        if self._stop.is_set() or headers.get("connection") == "close":
                            break
            except OSError as error:
                self.failed.append(repr(error))
        self.done += asked

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_instances_are_replaced_under_load_without_a_failed_request(edge: World) -> None:
    old = [edge.application(f"old-{number}") for number in (1, 2)]
    new = [edge.application(f"new-{number}") for number in (1, 2)]
    for application in (*old, *new):
        application.delay = 0.02
    endpoint = edge.endpoint(WWW, old[0].server("a"), old[1].server("b"))
    edge.serve(endpoint)
    pid = process.running(edge.place)
    port = edge.edge.tls_port
    h2load = subprocess.Popen(
        ["h2load", "-c4", "-m4", "-D8", f"https://{WWW}:{port}", f"--connect-to={EDGE}:{port}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with h2load, Load(edge, WWW) as load:
        time.sleep(1.5)
        for place, ours, theirs in zip("ab", old, new, strict=True):
            server = theirs.server(place)
            left = servers.replace(edge.place, endpoint, WWW, server, leave=10, come=5)
            assert left == 0
            ours.die()
            edge.applications.remove(ours)
            time.sleep(1)
        output = h2load.communicate(timeout=30)[0]
    assert load.failed == []
    assert load.done > 50
    assert load.names == {b"old-1", b"old-2", b"new-1", b"new-2"}
    requests = next(line for line in output.splitlines() if line.startswith("requests:"))
    assert ", 0 failed, 0 errored, 0 timeout" in requests, output
    statuses = next(line for line in output.splitlines() if line.startswith("status codes:"))
    assert "0 3xx, 0 4xx, 0 5xx" in statuses, output
    assert process.running(edge.place) == pid, "in the running process"
    assert not running.is_current(edge.edge, edge.place), "the declaration still names the old ones"
    endpoint = replace(endpoint, servers=(new[0].server("a"), new[1].server("b")))
    assert edge.serve(endpoint) == running.Applied("kept", (), {})
    assert running.is_current(edge.edge, edge.place)


def test_another_declaration_replaces_instances_and_takes_nobody_who_is_not_well(edge: World) -> None:
    one, two = edge.application("one"), edge.application("two")
    edge.serve(edge.endpoint(WWW, one.server("a")))
    applied = edge.serve(replace(edge.edge.endpoints[0], servers=(two.server("a"),)))
    assert applied == running.Applied("kept", (f"{WWW}/a",), {})
    with edge.visit(WWW) as connection:
        assert ask(connection, WWW)[2] == b"two 0\n"
    one.status = 503
    with pytest.raises(
        EdgeError, match=r"a at ipv4@127\.0\.0\.1:.* doesn't answer as www\.shop\.example within 0\.5 s"
    ):
        servers.replace(edge.place, edge.edge.endpoints[0], WWW, one.server("a"), come=0.5)
    with edge.visit(WWW) as connection:
        assert ask(connection, WWW)[2] == b"two 0\n"


def test_visitors_finish_before_an_instance_is_let_go(edge: World) -> None:
    app = edge.application("one")
    app.delay = 1.0
    edge.serve(edge.endpoint(WWW, app.server("a"), edge.application("two").server("b")))
    with edge.visit(WWW) as connection:
        app_first = threading.Thread(target=lambda: [ask(connection, WWW) for _ in range(2)])
        app_first.start()
        time.sleep(0.3)
        assert servers.drain(edge.place, WWW, "a", 0.1) in (0, 1)
        assert servers.drain(edge.place, WWW, "a", 10) == 0
        served = app.served
        app_first.join()
    with edge.visit(WWW) as connection:
        assert [ask(connection, WWW)[2] for _ in range(4)] == [b"two 0\n"] * 4
    assert app.served == served


@pytest.mark.parametrize("how", ["drained after a takeover", "gone with a takeover"])
def test_visitors_of_a_process_that_leaves_are_waited_for_too(edge: World, how: str) -> None:
    """It was taken over from while somebody still waits for an answer; nobody can ask it any more."""
    app, other = edge.application("one"), edge.application("two")
    app.delay = 2.5
    edge.serve(edge.endpoint(WWW, app.server("a")))
    with edge.visit(WWW) as connection:
        found: list[tuple[int, dict[str, str], bytes]] = []
        visit = threading.Thread(target=lambda: found.append(ask(connection, WWW)))
        visit.start()
        time.sleep(0.5)
        started = time.monotonic()
        if how == "gone with a takeover":
            applied = edge.serve(edge.endpoint(WWW, other.server("b")), edge.endpoint(SHOP, other.server()))
            assert (applied.process, applied.left) == ("restarted", 0)
        else:
            edge.serve(edge.edge.endpoints[0], edge.endpoint(SHOP, other.server()))
            assert time.monotonic() - started < 1.5, "nobody waits for an instance that stays"
            assert servers.drain(edge.place, WWW, "a", 0.2) > 0
            assert servers.drain(edge.place, WWW, "a", 15) == 0
        assert time.monotonic() - started > 1.5
        visit.join()
        assert [status for status, _, _ in found] == [200]


def test_an_instance_that_was_left_in_between_is_brought_back(edge: World, app: Application) -> None:
    """Whoever replaced it died half-way: it gets no visitors, until the edge is applied again."""
    edge.serve(edge.endpoint(WWW, app.server("a")))
    for state in ("drain", "maint"):
        runtime.order(edge.place.socket, f"set server {WWW}/a state {state}")
        assert not running.is_current(edge.edge, edge.place)
        assert edge.serve(*edge.edge.endpoints).replaced == (f"{WWW}/a",)
        assert running.is_current(edge.edge, edge.place)
        with edge.visit(WWW) as connection:
            assert ask(connection, WWW)[0] == 200


def test_a_map_that_was_changed_by_hand_is_noticed_and_mended(edge: World, app: Application) -> None:
    """Another customer's name that leads here, or a limit that is gone."""
    edge.serve(edge.endpoint(WWW, app.server()), limits={"acme": Limits(requests_per_second=500)})
    for name, key, value in (("requests", "acme", "100000"), ("here", WWW, "elsewhere")):
        runtime.order(edge.place.socket, f"set map {edge.place.map(name)} {key} {value}")
        assert not running.is_current(edge.edge, edge.place)
        assert edge.serve(*edge.edge.endpoints).process == "kept"
        assert running.is_current(edge.edge, edge.place)
    with edge.visit(WWW) as connection:
        assert ask(connection, WWW)[0] == 200
    edge.serve(*edge.edge.endpoints, limits={})


def test_an_instance_that_is_unwell_gets_no_visitors(edge: World) -> None:
    good, bad = edge.application("good"), edge.application("bad")
    edge.serve(edge.endpoint(WWW, good.server(), bad.server()))
    bad.status = 500
    deadline = time.monotonic() + 10
    while servers.running(edge.place, WWW)["bad"].is_up and time.monotonic() < deadline:
        time.sleep(0.1)
    with edge.visit(WWW) as connection:
        assert {ask(connection, WWW)[2] for _ in range(10)} == {b"good 0\n"}


def test_a_request_to_an_instance_that_does_not_listen_goes_to_another(edge: World) -> None:
    good, gone = edge.application("good"), edge.application("gone")
    endpoint = edge.endpoint(WWW, good.server(), gone.server())
    edge.serve(endpoint)
    edge.applications.remove(gone)
    gone.close()
    with edge.visit(WWW) as connection:
        assert {ask(connection, WWW)[0] for _ in range(10)} == {200}


def test_a_certificate_is_replaced_and_names_are_added_without_dropping_a_connection(
    edge: World, app: Application
) -> None:
    edge.serve(edge.endpoint(WWW, app.server()))
    pid = process.running(edge.place)
    with edge.visit(WWW) as long, Load(edge, WWW, 2) as load:
        assert ask(long, WWW)[0] == 200
        edge.certificate(WWW)
        assert running.apply(edge.edge, edge.place, write_private).process == "renewed"
        assert process.running(edge.place) == pid
        with edge.visit(WWW) as fresh:
            assert fresh.getpeercert(True) != long.getpeercert(True)
            assert fresh.getpeercert(True) == der(Path(edge.edge.endpoints[0].certificate))
        assert ask(long, WWW)[0] == 200
        assert edge.serve(edge.edge.endpoints[0], edge.endpoint(SHOP, app.server())).process == "restarted"
        assert process.running(edge.place) != pid
        assert ask(long, WWW)[0] == 200, "in the process that leaves"
        with edge.visit(SHOP) as other:
            assert ask(other, SHOP)[0] == 200
        time.sleep(0.5)
    assert load.failed == []
    assert load.done > 20


def test_one_customers_damaged_certificate_keeps_nobody_else_from_being_served(edge: World, app: Application) -> None:
    endpoints = edge.endpoint(WWW, app.server()), edge.endpoint(SHOP, app.server(), customer="zeta")
    path = Path(edge.certificate(SHOP))
    good = path.read_bytes()
    other_key = new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificate_only = good.partition(b"-----BEGIN PRIVATE")[0]
    for damaged, why in (
        (b"nonsense", "no certificate with its key"),
        (certificate_only + other_key, "not the certificate's"),
    ):
        path.write_bytes(damaged)
        applied = edge.serve(*endpoints)
        assert why in applied.without[SHOP]
        with edge.visit(WWW) as connection:
            assert ask(connection, WWW)[0] == 200
        assert handshake(edge, SHOP, edge.context()) == ""
    path.write_bytes(good)
    assert edge.serve(*endpoints).without == {}
    assert handshake(edge, SHOP, edge.context())


def test_a_certificate_too_large_for_the_runtime_interface_drops_nobody_either(edge: World, app: Application) -> None:
    edge.serve(edge.endpoint(WWW, app.server()))
    path = Path(edge.certificate(WWW))
    with edge.visit(WWW) as long, Load(edge, WWW, 2) as load:
        for _ in range(2):
            edge.certificate(WWW)
            path.write_bytes(path.read_bytes() + to_pem([edge.issuer.certificate] * 12))
            assert edge.serve(*edge.edge.endpoints).process == "restarted"
            with edge.visit(WWW) as fresh:
                assert fresh.getpeercert(True) == der(path)
        assert ask(long, WWW)[0] == 200
        assert edge.serve(*edge.edge.endpoints).process == "kept"
    assert load.failed == []


def test_challenges_reach_the_application_with_passthrough_too(edge: World) -> None:
    app = edge.application("challenges")
    app.answers["/.well-known/acme-challenge/abc"] = "abc.thumb"
    inside = replace(edge.endpoint(PASS, app.server(), tls=TlsMode.PASSTHROUGH), challenge_port=app.port)
    edge.serve(inside)
    with socket.create_connection((EDGE, edge.edge.plain_port), timeout=5) as connection:
        assert ask(connection, PASS, "/.well-known/acme-challenge/abc")[2] == b"abc.thumb"
        assert ask(connection, PASS, "/")[0] == 308
    edge.serve(replace(inside, challenge_port=0))
    with socket.create_connection((EDGE, edge.edge.plain_port), timeout=5) as connection:
        assert ask(connection, PASS, "/.well-known/acme-challenge/abc")[0] == 308


@pytest.mark.parametrize("shared", [True, False])
def test_passthrough_leaves_the_key_inside(edge: World, app: Application, tmp_path: Path, shared: bool) -> None:
    """The visitor's handshake is with the application; the edge has neither the key nor the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    source = Path(edge.certificate(PASS))
    inside = tmp_path / "inside.pem"
    shutil.move(source, inside)
    context.load_cert_chain(inside)
    context.set_alpn_protocols(["http/1.1"])
    own = edge.application("inside", context)
    where = ip_address("127.0.0.1" if shared else "127.0.0.7")
    edge.serve(
        edge.endpoint(PASS, own.server(), tls=TlsMode.PASSTHROUGH, customer="zeta"), edge.endpoint(WWW, app.server()),
        passthrough=(where,),
    )  # fmt: skip
    raw = socket.create_connection((str(where), edge.edge.tls_port), timeout=10)
    with edge.context("http/1.1").wrap_socket(raw, server_hostname=PASS) as connection:
        assert connection.getpeercert(True) == der(inside)
        status, headers, body = ask(connection, PASS)
        assert (status, body) == (200, b"inside 0\n")
        assert "seen-x-forwarded-for" not in headers, "what is inside is not touched"
    key = load_pem_private_key(inside.read_bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for file in Path(edge.place.directory).iterdir():
        if file.is_file():
            assert key not in file.read_bytes()
            assert inside.name not in file.read_text()
    with edge.visit(WWW) as connection:
        status, headers, _ = ask(connection, WWW)
        assert (status, headers["seen-x-forwarded-for"]) == (200, "127.0.0.1")
    raw = socket.create_connection((str(where), edge.edge.tls_port), timeout=10)
    with raw, pytest.raises((ssl.SSLError, ConnectionError)), edge.context().wrap_socket(raw, server_hostname=SHOP):
        pass
    edge.serve(edge.endpoint(WWW, app.server()), passthrough=())


def test_what_can_not_be_public_is_refused(edge: World) -> None:
    here = ip_address("127.0.0.1")
    good = Endpoint(WWW, "acme", "shop", TlsMode.OFF, (Server("a", here, 80),))
    for name in (
        "",
        "www",
        "WWW.example.org",
        "*.example.org",
        "www.example.org\nbackend x",
        "1.2.3.4",
        "a..b",
        "-a.example",
        "x" * 64 + ".example",
    ):
        with pytest.raises(EdgeError, match="is not a public name"):
            replace(good, name=name)
    for field, value in (
        ("customer", "a b"), ("application", "x\n    server evil 1.1.1.1"), ("certificate", "/x y.pem"),
        ("hsts", True), ("certificate", "/x.pem"), ("servers", (Server("a", here, 80), Server("a", here, 81))),
        ("challenge_port", 70000),
    ):  # fmt: skip
        with pytest.raises(EdgeError):
            replace(good, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(EdgeError, match=r"www\.shop\.example: a public name belongs to one endpoint"):
        replace(edge.edge, endpoints=(good, good))
    for words in (("a b", 80), ("a", 0), ("a", 65536)):
        with pytest.raises(EdgeError):
            Server(words[0], here, words[1])


def test_nothing_is_logged_of_visitors(edge: World, app: Application) -> None:
    edge.serve(edge.endpoint(WWW, app.server()))
    with edge.visit(WWW) as connection:
        ask(connection, WWW, "/private/path?token=1")
    written = b"".join(path.read_bytes() for path in Path(edge.place.directory).iterdir() if path.is_file())
    assert b"private/path" not in written
    assert f"{EDGE}:{edge.edge.tls_port}".encode() in written, "the files were looked at"


def test_an_instance_that_leaves_gets_nobody_new_while_its_visitors_finish(edge: World) -> None:
    """In the running process, in one that takes over, and back again when it has come."""
    app, other = edge.application("one"), edge.application("two")
    endpoint = edge.endpoint(WWW, app.server("a"), other.server("b"))
    edge.serve(endpoint)
    app.delay = 1.0
    with edge.visit(WWW) as first, edge.visit(WWW) as second, ThreadPoolExecutor(2) as pool:
        visits = [pool.submit(ask, connection, WWW) for connection in (first, second)]
        time.sleep(0.3)
        leaves = replace(endpoint, servers=(replace(app.server("a"), leaving=True), other.server("b")))
        assert edge.serve(leaves) == running.Applied("kept", (), {})
        assert running.is_current(edge.edge, edge.place)
        assert sorted(visit.result()[2] for visit in visits) == [b"one 0\n", b"two 0\n"]
    served = app.served
    with edge.visit(WWW) as connection:
        assert {ask(connection, WWW)[2] for _ in range(4)} == {b"two 0\n"}
    more = edge.endpoint("more.shop.example", other.server("b"))
    assert edge.serve(leaves, more).process == "restarted"
    assert running.is_current(edge.edge, edge.place)
    with edge.visit(WWW) as connection:
        assert {ask(connection, WWW)[2] for _ in range(4)} == {b"two 0\n"}
    assert app.served == served
    app.delay = 0.0
    assert edge.serve(endpoint, more) == running.Applied("kept", (f"{WWW}/a",), {})
    with edge.visit(WWW) as connection:
        assert {ask(connection, WWW)[2] for _ in range(4)} == {b"one 0\n", b"two 0\n"}
