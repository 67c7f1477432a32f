"""URI name constraints: what RFC 5280 says, and that OpenSSL says the same in a real handshake."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from ringfort.identity.bundle import Bundle
from ringfort.identity.constraints import check_uris, host_of, within, without_uris
from ringfort.identity.credential import Credential
from ringfort.identity.errors import IdentityRefused, Refusal
from ringfort.identity.tls import client_context, refusal_of, server_context
from tests.identity.chains import ACCEPTED, IP, ISSUER, LEAF, ROOT, URI, Spec, judge, sign
from tests.identity.parties import DOMAIN

HOSTS = st.from_regex(r"[a-z]([a-z0-9]{0,5})(\.[a-z]{1,6}){0,3}", fullmatch=True)


@given(HOSTS, HOSTS)
def test_a_host_satisfies_itself_and_with_a_period_only_what_is_below(host: str, other: str) -> None:
    assert within(host, host)
    assert within(host, host.upper())
    assert not within(host, f".{host}")
    assert within(f"{other}.{host}", f".{host}")
    assert not within(f"{other}.{host}", host)
    assert not within(f"{other}{host}", f".{host}")


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("spiffe://shop.example/node/a", "shop.example"),
        ("spiffe://Shop.Example", "shop.example"),
        ("https://user@shop.example:443/x?y#z", "shop.example"),
        ("https://10.0.0.1/", None),
        ("https://[::1]/", None),
        ("spiffe:///node", None),
        ("spiffe://shop..example/x", None),
        ("urn:shop:example", None),
        ("spiffe://shop.example\0.evil.example/x", None),
        ("", None),
    ],
)
def test_the_host_of_a_uri(uri: str, host: str | None) -> None:
    assert host_of(uri) == host


def test_the_rest_of_the_constraints_is_left_to_the_library() -> None:
    block = IP(ip_network("10.0.0.0/8"))
    assert without_uris(x509.NameConstraints([URI("a.example"), block], [block])) == x509.NameConstraints(
        [block], [block]
    )
    assert without_uris(x509.NameConstraints([URI("a.example")], [URI("b.example")])) is None


def test_a_uri_without_a_host_is_refused_where_hosts_are_constrained() -> None:
    with pytest.raises(IdentityRefused) as refused:
        check_uris(["urn:shop"], x509.NameConstraints([URI(DOMAIN)], None))
    assert refused.value.refusal is Refusal.CONSTRAINTS
    check_uris(["urn:shop"], x509.NameConstraints([IP(ip_network("10.0.0.0/8"))], None))


def today(spec: Spec) -> Spec:
    now = datetime.now(UTC)
    return replace(spec, valid=(now - timedelta(hours=1), now + timedelta(hours=1)))


def in_a_handshake(root: Spec, issuer: Spec, leaf: Spec) -> str:
    """What OpenSSL says of a caller's chain."""
    assert isinstance(leaf.key, ec.EllipticCurvePrivateKey)
    mine, trusted = (
        Credential(leaf.key, (sign(leaf, issuer), sign(issuer, root))),
        Bundle(DOMAIN, (sign(root, root),), ()),
    )
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context(mine, trusted).wrap_bio(to_server, to_client, server_side=True)
    calling = client_context(mine, trusted)
    calling.verify_mode = ssl.CERT_NONE  # only the server judges
    client = calling.wrap_bio(to_client, to_server)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return refusal_of(error)
    return ACCEPTED


CONSTRAINTS = [
    ([URI(DOMAIN)], []),
    ([URI("other.example")], []),
    ([URI(".example")], []),
    ([URI("example")], []),
    ([URI("op.example")], []),
    ([URI("SHOP.example")], []),
    ([URI(".shop.example")], []),
    ([URI("other.example"), URI(DOMAIN)], []),
    ([URI(DOMAIN)], [URI(DOMAIN)]),
    ([], [URI(".example")]),
    ([], [URI("other.example")]),
    ([URI(DOMAIN), IP(ip_network("10.10.0.0/16"))], []),
    ([URI(DOMAIN), IP(ip_network("10.20.0.0/16"))], []),
    ([URI(DOMAIN), IP(ip_network("fd00:10::/32"))], []),
    ([URI(DOMAIN)], [IP(ip_network("10.10.1.0/24"))]),
]


@pytest.mark.parametrize(("permitted", "excluded"), CONSTRAINTS)
@pytest.mark.parametrize("name", [f"spiffe://{DOMAIN}/service/web", f"spiffe://deep.{DOMAIN}/service/web"])
def test_openssl_agrees(name: str, permitted: list[x509.GeneralName], excluded: list[x509.GeneralName]) -> None:
    root, issuer = today(ROOT), today(ISSUER).constrain(permitted, excluded)
    leaf = today(LEAF).names(URI(name), IP(ip_address("10.10.1.2")))
    bundle = Bundle(name.split("/")[2], (sign(root, root),), (sign(issuer, root),))
    ours = judge(sign(leaf, issuer), bundle, datetime.now(UTC))
    assert ours in {ACCEPTED, Refusal.CONSTRAINTS}
    assert in_a_handshake(root, issuer, leaf) == ours
