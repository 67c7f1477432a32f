"""The rules of SPIFFE's X509-SVID and of our profile, one by one; those of RFC 5280 are in `test_limbo`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ringfort.identity.bundle import Bundle
from ringfort.identity.errors import IdentityRefused, Refusal
from ringfort.identity.names import Role
from ringfort.identity.verification import anyone, exactly, roles, verify
from tests.identity.chains import IP, ISSUER, LEAF, NAME, ROOT, URI, Spec, key, sign
from tests.identity.limbo_cases import usage
from tests.identity.parties import DOMAIN, NOON

PLACE = IP(ip_address("10.10.1.2"))
UNCONSTRAINED = ISSUER.constrain([IP(ip_network("10.10.0.0/16"))])
"""An issuing authority without a URI subtree: what is left is our own check of the trust domain."""


def refused(leaf: Spec, issuer: Spec = ISSUER) -> IdentityRefused:
    bundle = Bundle(DOMAIN, (sign(ROOT, ROOT),), (sign(issuer, ROOT),))
    with pytest.raises(IdentityRefused) as error:
        verify(sign(leaf, issuer), (), bundle, NOON, expected=anyone)
    return error.value


RULES: dict[str, tuple[Spec, Refusal, str]] = {
    "two URIs": (LEAF.names(URI(NAME), URI(f"{NAME}-2"), PLACE), Refusal.NAMES, "X509-SVID, 2"),
    "the same URI twice": (LEAF.names(URI(NAME), URI(NAME)), Refusal.NAMES, "X509-SVID, 2"),
    "no URI": (LEAF.names(PLACE), Refusal.NAMES, "X509-SVID, 2"),
    "no path": (LEAF.names(URI(f"spiffe://{DOMAIN}")), Refusal.NAMES, "X509-SVID, 5.2"),
    "a root path": (LEAF.names(URI(f"spiffe://{DOMAIN}/")), Refusal.NAMES, "X509-SVID, 5.2"),
    "another scheme": (LEAF.names(URI(f"https://{DOMAIN}/service/web")), Refusal.NAMES, "SPIFFE-ID, 2"),
    "a query": (LEAF.names(URI(f"{NAME}?x=y")), Refusal.NAMES, "SPIFFE-ID, 2"),
    "a port": (LEAF.names(URI(f"spiffe://{DOMAIN}:443/service/web")), Refusal.NAMES, "SPIFFE-ID, 2"),
    "a role that is none": (LEAF.names(URI(f"spiffe://{DOMAIN}/king/web")), Refusal.NAMES, "SPIFFE-ID, 2"),
    "an authority": (
        LEAF.put(x509.BasicConstraints(ca=True, path_length=None), critical=True),
        Refusal.IS_AUTHORITY,
        "X509-SVID, 4.1",
    ),
    "may sign certificates": (
        LEAF.put(usage(digital_signature=True, key_cert_sign=True), critical=True),
        Refusal.IS_AUTHORITY,
        "X509-SVID, 4.3",
    ),
    "may sign revocation lists": (
        LEAF.put(usage(digital_signature=True, crl_sign=True), critical=True),
        Refusal.IS_AUTHORITY,
        "X509-SVID, 4.3",
    ),
    "key usage that is not critical": (LEAF.put(usage(digital_signature=True)), Refusal.KEY_USAGE, "X509-SVID, 4.3"),
    "no signatures": (LEAF.put(usage(key_agreement=True), critical=True), Refusal.KEY_USAGE, "X509-SVID, 4.3"),
    "for servers only": (
        LEAF.put(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])),
        Refusal.KEY_USAGE,
        "X509-SVID, 4.4",
    ),
    "longer than a day": (
        replace(LEAF, valid=(NOON - timedelta(minutes=5), NOON + timedelta(hours=24))),
        Refusal.LIFETIME,
        "24 hours",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_refuses_with_its_clause(rule: str) -> None:
    leaf, refusal, clause = RULES[rule]
    error = refused(leaf)
    assert error.refusal is refusal
    assert clause in error.clause
    assert clause in str(error)


def test_a_name_of_another_trust_domain_is_refused_even_where_no_constraint_says_so() -> None:
    foreign = LEAF.names(URI("spiffe://other.example/service/web"), PLACE)
    assert refused(foreign, UNCONSTRAINED).refusal is Refusal.TRUST_DOMAIN
    assert refused(foreign).refusal is Refusal.CONSTRAINTS


def test_an_authority_that_is_sent_along_is_verified_like_those_of_the_bundle() -> None:
    known = Bundle(DOMAIN, (sign(ROOT, ROOT),), ())
    assert verify(sign(LEAF, ISSUER), [sign(ISSUER, ROOT)], known, NOON, expected=anyone).uri == NAME
    stranger = replace(ROOT, key=key("stranger"))
    with pytest.raises(IdentityRefused) as error:
        verify(sign(LEAF, ISSUER), [sign(ISSUER, stranger)], known, NOON, expected=anyone)
    assert error.value.refusal is Refusal.OTHER_AUTHORITY


def test_whom_one_is_ready_to_speak_with() -> None:
    bundle = Bundle(DOMAIN, (sign(ROOT, ROOT),), (sign(ISSUER, ROOT),))
    for expected in (anyone, roles(Role.SERVICE), roles(Role.NODE, Role.SERVICE), exactly({NAME})):
        assert verify(sign(LEAF, ISSUER), (), bundle, NOON, expected=expected).uri == NAME
    for expected in (roles(), roles(Role.NODE), exactly(set()), exactly({f"{NAME}2", NAME.upper()})):
        with pytest.raises(IdentityRefused) as error:
            verify(sign(LEAF, ISSUER), (), bundle, NOON, expected=expected)
        assert error.value.refusal is Refusal.WRONG_ROLE
