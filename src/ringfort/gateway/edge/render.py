"""The configuration of one edge host's HAProxy (2.6), made of what is public.

Three doors: plain HTTP, TLS that ends here, TLS that is passed through by the name that the visitor asks for (SNI).
Each endpoint is a backend that is named after its public name. Which name leads where, and to whom it belongs, stands
in maps beside the configuration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ringfort.environment.model import Address
from ringfort.gateway.edge.model import ENDED_HERE, Edge, Endpoint, Health, Inside, Server, TlsMode
from ringfort.gateway.haproxy import Configuration
from ringfort.gateway.material import Kind, Material
from ringfort.gateway.place import Place as Base
from ringfort.gateway.place import check_paths

SUITES_12 = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""TLS 1.2: forward secrecy, authenticated encryption, 128 bits or more (RFC 9325, 4.2)."""

SUITES_13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
CURVES = "X25519:P-256:P-384"

HEADERS_SECONDS = 5
"""A visitor has that long for the headers of a request, and as long for the name it asks for under TLS."""

BODY_SECONDS = 10
BODY_AT_LEAST = 1_024
"""Bytes of a body, or all of it, that a visitor has to send within `BODY_SECONDS`."""

IDLE_SECONDS = 15
"""Without a byte where one is due: in the handshake, in a body, or when an answer isn't read."""

ANSWER_SECONDS = 60
"""An instance has that long until it begins to answer, and between two pieces of an answer."""

KEPT_ALIVE_SECONDS = 15
TUNNEL_SECONDS = 3_600
LEAVING_SECONDS = 3_600
"""A process that another has taken over from has that long for the connections that it still holds."""

HSTS_SECONDS = 31_536_000
CHALLENGES = r"^/\.well-known/acme-challenge/[A-Za-z0-9_-]+$"
"""RFC 8555, 8.3: a token in base64url, and no way up from there."""

FORGED = ("Forwarded", "X-Forwarded- -m beg", "X-Real-IP")
"""Headers that say who the visitor is: only the edge knows."""

HOP = ("Proxy -m beg", "Keep-Alive", "TE")
"""Between two neighbours only (RFC 9110, 7.6.1), or, ``Proxy``, taken for a setting by CGI programs (httpoxy)."""

TELLING = ("Server", "X-Powered-By")
"""Headers of answers that tell strangers what runs inside."""

DIGEST_PLACE = "digest"
PASSING = "passthrough:"
CHALLENGED = "challenge:"
INNER = "tls-here"
MISDIRECTED = "misdirected"
SOURCES, PLAIN, VISITS = "sources", "plain-requests", "visits"


@dataclass(frozen=True, slots=True)
class Place(Base):
    """Where an edge's files are."""

    directory: str
    account: str = ""

    def __post_init__(self) -> None:
        check_paths(self.directory, self.account)

    @property
    def certificates(self) -> str:
        """Which certificate is shown for which name."""
        return f"{self.directory}/edge.certificates"

    @property
    def inner(self) -> str:
        """Where the door that shares its address hands on TLS that ends here."""
        return f"{self.directory}/tls.sock"

    @property
    def inner_seen(self) -> str:
        """The same, as the process sees it from inside of its directory."""
        return "/tls.sock" if self.account else self.inner

    def map(self, name: str) -> str:
        """One of the maps."""
        return f"{self.directory}/{name}.map"


MAPS = ("here", "plain", "challenges", "passthrough", "customers", "requests", "connections")


def render(edge: Edge, place: Place) -> Configuration:
    """The edge's files.

    The digest, which a running process names, is of everything but the addresses of instances: those change in the
    running process (`ringfort.gateway.edge.servers`).
    """
    texts = {place.map(name): text for name, text in _maps(edge).items()}
    texts[place.certificates] = "".join(f"{one.certificate} {one.name}\n" for one in _sorted(edge.ended))
    body = "\n".join(_lines(edge, place)) + "\n"
    stable = [_without_servers(body), *(f"{path}\n{text}" for path, text in sorted(texts.items()))]
    digest = hashlib.sha256("\0".join(stable).encode()).hexdigest()
    texts[place.configuration] = body.replace(f'"{DIGEST_PLACE}"', f'"{digest}"', 1)
    material = [Material(Kind.CERTIFICATE, path) for path in sorted({one.certificate for one in edge.ended})]
    return Configuration(texts, digest, (*material, *_inside_material(edge)))


def _inside_material(edge: Edge) -> Iterator[Material]:
    """What HAProxy reads for the way to instances; nothing while there are none, and then it has read nothing."""
    inside = edge.inside
    if inside is None or not any(backends(edge).values()):
        return
    yield Material(Kind.CERTIFICATE, inside.certificate)
    yield Material(Kind.AUTHORITIES, inside.authorities)
    if inside.revoked:
        yield Material(Kind.LISTS, inside.revoked)


def _towards(inside: Inside | None) -> str:
    """What stands at every server."""
    if inside is None:
        return ""
    lists = f" crl-file {inside.revoked}" if inside.revoked else ""
    known = f"crt {inside.certificate} ca-file {inside.authorities}{lists}"
    return f" ssl {known} verify required ssl-min-ver TLSv1.3 no-ssl-reuse"


def backends(edge: Edge) -> dict[str, tuple[Server, ...]]:
    """By HAProxy's backend, the servers that it has."""
    found: dict[str, tuple[Server, ...]] = {}
    for one in edge.endpoints:
        passing = one.tls is TlsMode.PASSTHROUGH
        found[f"{PASSING}{one.name}" if passing else one.name] = one.servers
        if passing and one.challenge_port:
            found[CHALLENGED + one.name] = tuple(replace(server, port=one.challenge_port) for server in one.servers)
    return found


def _sorted(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    return sorted(endpoints, key=lambda one: one.name)


def _without_servers(body: str) -> str:
    lines = [" ".join(line.split()[:2]) if line.startswith(_SERVER) else line for line in body.splitlines()]
    return "\n".join(lines)


_SERVER = "    server "


def _maps(edge: Edge) -> dict[str, str]:
    rows: dict[str, list[str]] = {name: [] for name in MAPS}
    for one in _sorted(edge.endpoints):
        rows["customers"].append(f"{one.name} {one.customer}")
        passing = one.tls is TlsMode.PASSTHROUGH
        if passing:
            rows["passthrough"].append(f"{one.name} {PASSING}{one.name}")
        elif one.tls is TlsMode.OFF:
            rows["plain"].append(f"{one.name} {one.name}")
        elif one.certificate:
            rows["here"].append(f"{one.name} {one.name}")
        if one.tls in ENDED_HERE:
            rows["challenges"].append(f"{one.name} {one.name}")
        elif passing and one.challenge_port:
            rows["challenges"].append(f"{one.name} {CHALLENGED}{one.name}")
    for customer in sorted({one.customer for one in edge.endpoints}):
        limits = edge.limits_of(customer)
        rows["requests"].append(f"{customer} {limits.requests_per_second}")
        rows["connections"].append(f"{customer} {limits.connections}")
    return {name: "".join(f"{row}\n" for row in found) for name, found in rows.items()}


def _lines(edge: Edge, place: Place) -> Iterator[str]:
    yield from _global(edge, place)
    yield from _tables(edge)
    yield from _plain(edge, place)
    if edge.ended or not edge.passing:  # a visitor is told that nobody has the name, and not left to wonder
        yield from _tls(edge, place)
    if edge.passing:
        yield from _passthrough(edge, place)
    for one in _sorted(edge.endpoints):
        yield from _backend(one, _towards(edge.inside))


def _global(edge: Edge, place: Place) -> Iterator[str]:
    yield "# Ringfort: edge. Written anew whenever what is public changes; changes by hand are lost."
    yield "global"
    yield f'    setenv RINGFORT_CONFIGURATION "{DIGEST_PLACE}"'
    yield f"    stats socket {place.socket} mode 600 level admin expose-fd listeners"
    yield "    stats timeout 1h"
    if place.account:
        yield f"    user {place.account}"
        yield f"    chroot {place.directory}  # where it may read nothing"
    yield f"    maxconn {edge.connections}"
    yield f"    hard-stop-after {LEAVING_SECONDS}s"
    yield "    httpclient.ssl.verify none  # nobody is called; this spares reading the system's 144 authorities"
    yield "    tune.ssl.lifetime 300"
    yield "    tune.h2.max-concurrent-streams 100"
    yield "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets"
    yield f"    ssl-default-bind-ciphers {SUITES_12}"
    yield f"    ssl-default-bind-ciphersuites {SUITES_13}"
    yield "    ssl-default-server-ciphers DEFAULT:@SECLEVEL=3  # 128 bits for everything"
    yield ""
    yield "defaults"
    yield "    mode http"
    yield "    no log  # who visits whom is nobody's business; counters say the rest"
    yield "    timeout connect 2s"
    yield f"    timeout client {IDLE_SECONDS}s"
    yield f"    timeout server {ANSWER_SECONDS}s"
    yield f"    timeout http-request {HEADERS_SECONDS}s"
    yield f"    timeout http-keep-alive {KEPT_ALIVE_SECONDS}s"
    yield "    timeout queue 5s"
    yield f"    timeout tunnel {TUNNEL_SECONDS}s"
    yield "    timeout client-fin 5s"
    yield "    option idle-close-on-response  # a process that leaves answers what is on its way to it"
    yield "    option http-restrict-req-hdr-names delete  # X_Forwarded_For is X-Forwarded-For to many programs"
    yield "    option clitcpka"
    yield "    retries 3"
    yield "    option redispatch 1"
    yield "    retry-on conn-failure  # nothing was sent yet: another instance may take it, whatever it is"
    yield ""
    yield "frontend alive"
    yield f"    bind 127.0.0.1:{edge.alive_port}"
    yield "    monitor-uri /alive"


def _tables(edge: Edge) -> Iterator[str]:
    for name, kind, store in (
        (SOURCES, "ipv6", "conn_cur,conn_rate(10s)"),
        (VISITS, "string len 63", "conn_cur,http_req_rate(1s)"),
        (PLAIN, "string len 63", "http_req_rate(1s)"),
    ):
        yield ""
        yield f"backend {name}"
        size = 200_000 if kind == "ipv6" else max(1_000, 2 * len(edge.endpoints))
        yield f"    stick-table type {kind} size {size} expire 60s store {store}"


def _bound(address: Address, port: int) -> str:
    return f"    bind ipv{address.version}@{address}:{port} transparent"


def _sources(edge: Edge) -> Iterator[str]:
    limits = edge.per_source
    yield f"    tcp-request connection track-sc2 src,ipmask(32,64) table {SOURCES}"
    yield f"    tcp-request connection reject if {{ sc2_conn_cur gt {limits.connections} }}"
    many = limits.new_connections_per_10_seconds
    yield f"    tcp-request connection reject if {{ sc2_conn_rate gt {many} }}"


def _headers(scheme: str) -> Iterator[str]:
    yield f"    http-request wait-for-body time {BODY_SECONDS}s at-least {BODY_AT_LEAST}"
    for header in (*FORGED, *HOP):
        yield f"    http-request del-header {header}"
    yield "    option forwardfor"
    yield f"    http-request set-header X-Forwarded-Proto {scheme}"
    for header in TELLING:
        yield f"    http-response del-header {header}"


def _plain(edge: Edge, place: Place) -> Iterator[str]:
    yield ""
    yield "frontend plain"
    yield from (_bound(address, edge.plain_port) for address in _all_addresses(edge))
    yield from _sources(edge)
    yield "    http-request return status 400 unless { req.hdr_cnt(host) eq 1 }"
    yield "    http-request set-var(txn.name) req.hdr(host),host_only,lower"
    yield f"    acl challenge path -m reg '{CHALLENGES}'"
    yield f"    http-request set-var(txn.customer) var(txn.name),map({place.map('customers')})"
    yield "    http-request return status 404 unless { var(txn.customer) -m found }"
    yield f"    http-request set-var(txn.requests) var(txn.customer),map_str_int({place.map('requests')},0)"
    yield f"    http-request track-sc0 var(txn.customer) table {PLAIN}"
    yield _too_many("sc0", "txn")
    yield f"    http-request set-var(txn.to) var(txn.name),map({place.map('plain')})"
    challenges = place.map("challenges")
    known = "{ var(txn.to) -m found }"
    yield f"    http-request set-var(txn.to) var(txn.name),map({challenges}) if challenge !{known}"
    there = "https://%[var(txn.name)]" + ("" if edge.tls_port == 443 else f":{edge.tls_port}")
    yield f"    http-request redirect location {there}%[pathq] code 308 unless {known}"
    yield from _headers("http")
    yield "    use_backend %[var(txn.to)]"


def _all_addresses(edge: Edge) -> tuple[Address, ...]:
    return tuple(dict.fromkeys((*edge.addresses, *(edge.passthrough if edge.passing else ()))))


def _passing_at(edge: Edge) -> tuple[Address, ...]:
    return edge.passthrough or edge.addresses


def _tls(edge: Edge, place: Place) -> Iterator[str]:
    under = f" ssl crt-list {place.certificates} strict-sni alpn h2,http/1.1 curves {CURVES}"
    shared = set(edge.addresses) & set(_passing_at(edge)) if edge.passing else set()
    yield ""
    yield "frontend tls"
    for address in edge.addresses:
        if address not in shared:
            yield _bound(address, edge.tls_port) + under
    if shared:
        yield f"    bind unix@{place.inner} mode 600{_owner(place)} accept-proxy{under}"
    yield from _sources(edge)
    yield "    tcp-request session set-var(sess.name) ssl_fc_sni,lower"
    yield f"    tcp-request session set-var(sess.to) var(sess.name),map({place.map('here')})"
    yield from _customer("session", place)
    yield f"    tcp-request session set-var(sess.requests) var(sess.customer),map_str_int({place.map('requests')},0)"
    # The table that the connection is tracked in counts its requests too: no look-up for each of them
    yield _too_many("sc1", "sess")
    yield from _headers("https")
    yield "    use_backend %[var(sess.to)] if { req.hdr(host),host_only,lower,strcmp(sess.name) eq 0 }"
    yield f"    default_backend {MISDIRECTED}"
    yield ""
    yield f"backend {MISDIRECTED}"
    yield "    http-request return status 400 unless { req.hdr(host) -m found }"
    # RFC 9110, 15.5.20: a browser may take one connection for several names of a certificate; limits are by name
    yield "    http-request return status 421"


def _too_many(counter: str, scope: str) -> str:
    rate = f"{{ {counter}_http_req_rate,sub({scope}.requests) gt 0 }}"
    return f"    http-request return status 429 hdr Retry-After 1 if {rate}"


def _owner(place: Place) -> str:
    return f" user {place.account}" if place.account else ""


def _customer(stage: str, place: Place) -> Iterator[str]:
    yield f"    tcp-request {stage} set-var(sess.customer) var(sess.name),map({place.map('customers')})"
    yield f"    tcp-request {stage} set-var(sess.most) var(sess.customer),map_str_int({place.map('connections')},0)"
    yield f"    tcp-request {stage} track-sc1 var(sess.customer) table {VISITS}"
    yield f"    tcp-request {stage} reject if {{ sc1_conn_cur,sub(sess.most) gt 0 }}"


def _passthrough(edge: Edge, place: Place) -> Iterator[str]:
    addresses = _passing_at(edge)
    shared = bool(edge.ended) and bool(set(edge.addresses) & set(addresses))
    yield ""
    yield "frontend passthrough"
    yield "    mode tcp"
    yield from (_bound(address, edge.tls_port) for address in addresses)
    yield from _sources(edge)
    yield f"    tcp-request inspect-delay {HEADERS_SECONDS}s"
    yield "    tcp-request content reject unless { req.ssl_hello_type 1 }"
    yield "    tcp-request content set-var(sess.name) req.ssl_sni,lower"
    yield f"    tcp-request content set-var(sess.to) var(sess.name),map({place.map('passthrough')})"
    if shared:
        yield "    tcp-request content accept unless { var(sess.to) -m found }"
    else:
        yield "    tcp-request content reject unless { var(sess.to) -m found }"
    yield from _customer("content", place)
    yield "    use_backend %[var(sess.to)] if { var(sess.to) -m found }"
    if shared:
        yield f"    default_backend {INNER}"
        yield ""
        yield f"backend {INNER}"
        yield "    mode tcp"
        yield f"    server inner unix@{place.inner_seen} send-proxy-v2"


def _backend(one: Endpoint, towards: str) -> Iterator[str]:
    yield ""
    yield f"# {one.customer} {one.application}"
    if one.tls is TlsMode.PASSTHROUGH:
        yield f"backend {PASSING}{one.name}"
        yield "    mode tcp"
        yield "    balance leastconn"  # connections of any length
        yield from _servers(one.servers, one.health, towards)
        if not one.challenge_port:
            return
        yield ""
        yield f"backend {CHALLENGED}{one.name}"
        if towards:
            yield f"    default-server{towards}"
        for server in one.servers:  # not checked: who answers challenges may listen only while there is one
            yield _server(replace(server, port=one.challenge_port))
        return
    yield f"backend {one.name}"
    yield "    balance roundrobin"
    if one.health.path:
        yield "    option httpchk"
        yield f"    http-check send meth GET uri {one.health.path} ver HTTP/1.1 hdr Host {one.name}"
        yield "    http-check expect status 200-399"
    if one.hsts:
        yield f"    http-response set-header Strict-Transport-Security max-age={HSTS_SECONDS} if {{ ssl_fc }}"
    yield from _servers(one.servers, one.health, towards)


def _servers(servers: Iterable[Server], health: Health, towards: str) -> Iterator[str]:
    yield f"    default-server check inter {health.seconds}s fall {health.fall} rise {health.rise}{towards}"
    yield from map(_server, servers)


def _server(server: Server) -> str:
    """A process that begins has no visitors at one that leaves: there it needs only get none."""
    return f"{_SERVER}{server.name} {server.place}" + (" disabled" if server.leaving else "")
