"""What an authority issues is within its profile, and it issues nothing else."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.identity.authority import LONGEST_LIFETIME, Root
from ringfort.identity.certificates import addresses, new_key, plain_address, uris
from ringfort.identity.credential import Credential, is_due, renew_at
from ringfort.identity.errors import IdentityError, IdentityRefused, Refusal
from ringfort.identity.names import Identity, Role
from ringfort.identity.requests import read_request, write_request
from ringfort.identity.verification import anyone, verify
from tests.identity.chains import IP, LEAF, NAME, URI, Spec, sign
from tests.identity.parties import DOMAIN, NOON, authority

WEB = Identity(DOMAIN, Role.SERVICE, "web")
PLACE = ip_address("10.10.1.2")


def code(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(IdentityError) as error:
        call(*arguments)
    return error.value.code


@settings(max_examples=30)
@given(
    st.sampled_from(Role),
    st.from_regex(r"[a-z0-9][a-z0-9.-]{0,40}", fullmatch=True),
    st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=4, unique=True),
    st.timedeltas(timedelta(minutes=6), LONGEST_LIFETIME),
)
def test_whatever_is_issued_is_accepted_for_just_as_long(
    role: Role, name: str, hosts: list[int], lifetime: timedelta
) -> None:
    issuing = authority()
    places = [str(ip_address(int(ip_address("10.10.0.0")) + host)) for host in hosts]
    made = issuing.credential(role, name, places, NOON, lifetime)
    for at in (NOON, made.leaf.not_valid_after_utc):
        found = verify(made.leaf, (), issuing.bundle, at, expected=anyone, address=places[0])
        assert found == made.identity == Identity(DOMAIN, role, name)
    with pytest.raises(IdentityRefused):
        verify(made.leaf, (), issuing.bundle, made.leaf.not_valid_after_utc + timedelta(seconds=1), expected=anyone)
    assert made.leaf.not_valid_after_utc - made.leaf.not_valid_before_utc <= LONGEST_LIFETIME
    assert [str(place) for place in addresses(made.leaf)] == places


def test_a_leaf_names_one_identity_and_nothing_else() -> None:
    leaf = authority().leaf()
    assert uris(leaf) == ["spiffe://shop.example/service/web"]
    assert leaf.subject == x509.Name([])
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_an_issuing_authority_is_held_to_its_trust_domain_and_its_site() -> None:
    constraints = authority().south.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value == x509.NameConstraints(
        [x509.UniformResourceIdentifier(DOMAIN), x509.IPAddress(ip_network("10.20.0.0/16"))], None
    )
    basic = authority().south.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 0)


def test_it_issues_within_its_limits_only() -> None:
    issue, key = authority().north.issue, new_key().public_key()
    assert code(issue, Identity("other.example", Role.SERVICE, "web"), [PLACE], key, NOON) == "identity-foreign"
    assert code(issue, WEB, [ip_address("10.20.1.2")], key, NOON) == "identity-address-outside-site"
    assert code(issue, WEB, [ip_address("fd00:20::1")], key, NOON) == "identity-address-outside-site"
    assert code(issue, WEB, [], key, NOON) == "identity-no-addresses"
    for lifetime in (LONGEST_LIFETIME + timedelta(seconds=1), timedelta(minutes=5), timedelta(0), -LONGEST_LIFETIME):
        assert code(issue, WEB, [PLACE], key, NOON, lifetime) == "identity-lifetime-asked"
    assert code(issue, WEB, [PLACE], key, NOON + timedelta(days=364)) == "identity-outlives-issuer"
    for other in (ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)):
        assert code(issue, WEB, [PLACE], other.public_key(), NOON) == "identity-key-kind"
    assert code(issue, WEB, [PLACE], ec.generate_private_key(ec.SECP224R1()).public_key(), NOON) == "identity-key-kind"
    issue(WEB, [PLACE], ec.generate_private_key(ec.SECP384R1()).public_key(), NOON)


def test_a_stolen_issuing_authority_is_good_for_its_own_site_only() -> None:
    """Whoever holds the key can sign anything: it is the verifiers that refuse."""
    issuing = authority()
    south = Spec(issuing.south.certificate.subject, issuing.south.key, LEAF.valid, ())
    forged = sign(LEAF.names(URI(NAME), IP(PLACE)), south)
    with pytest.raises(IdentityRefused) as refused:
        verify(forged, (), issuing.bundle, NOON, expected=anyone)
    assert refused.value.refusal is Refusal.CONSTRAINTS
    within = sign(LEAF.names(URI(NAME), IP(ip_address("10.20.1.2"))), south)
    verify(within, (), issuing.bundle, NOON, expected=anyone)


def test_the_root_makes_authorities_within_its_limits_only() -> None:
    root = Root.create(DOMAIN, NOON, timedelta(days=400))
    assert code(root.issuer, "north", [], NOON) == "identity-no-networks"
    assert (
        code(root.issuer, "north", [ip_network("10.0.0.0/8")], NOON + timedelta(days=40)) == "identity-outlives-issuer"
    )
    assert code(Root.create, "Not A Domain", NOON) == "identity-trust-domain-name"


def test_operators_may_roam_unless_they_name_their_hosts() -> None:
    issuing = authority()
    free = issuing.leaf(Role.OPERATOR, "alice", ())
    bound = issuing.leaf(Role.OPERATOR, "bob", ["10.10.5.1"])
    assert verify(free, (), issuing.bundle, NOON, expected=anyone, address="192.0.2.1").name == "alice"
    with pytest.raises(IdentityRefused) as refused:
        verify(bound, (), issuing.bundle, NOON, expected=anyone, address="10.10.5.2")
    assert refused.value.refusal is Refusal.WRONG_ADDRESS


def test_addresses_are_compared_as_addresses() -> None:
    issuing = authority()
    leaf = issuing.leaf(addresses=["10.10.1.2", "fd00:10::2"])
    for place in ("10.10.1.2", "::ffff:10.10.1.2", "fd00:10::2", "FD00:10:0::2", "fd00:10::2%eth0"):
        verify(leaf, (), issuing.bundle, NOON, expected=anyone, address=place)
    for place in ("10.10.1.3", "::ffff:10.10.1.3", "::10.10.1.2", "nowhere", ""):
        with pytest.raises(IdentityRefused) as refused:
            verify(leaf, (), issuing.bundle, NOON, expected=anyone, address=place)
        assert refused.value.refusal is Refusal.WRONG_ADDRESS
    assert plain_address("::ffff:10.0.0.1") == ip_address("10.0.0.1")


def test_renewal_is_due_at_two_thirds_of_life() -> None:
    leaf = authority().leaf(lifetime=timedelta(hours=12))
    assert renew_at(leaf) - leaf.not_valid_before_utc == timedelta(hours=8)
    assert not is_due(leaf, renew_at(leaf) - timedelta(seconds=1))
    assert is_due(leaf, renew_at(leaf))


def test_a_request_carries_a_key_and_its_proof() -> None:
    key = new_key()
    request = write_request(key)
    assert read_request(request) == key.public_key()
    lines = request.splitlines(keepends=True)
    changed = b"".join([*lines[:2], lines[2][:-6] + b"AAAA" + lines[2][-2:], *lines[3:]])
    for bad in (b"", b"nonsense", changed, request[: len(request) // 2], b"x" * 10_000):
        assert code(read_request, bad) == "identity-request"


def test_a_key_never_shows_and_never_goes_with_anothers_certificate() -> None:
    one, other = authority().credential(), authority().credential()
    assert Credential.from_pem(one.to_pem()).leaf == one.leaf
    assert "PRIVATE" not in repr(one)
    assert code(Credential, one.key, other.chain) == "identity-key-mismatch"
    assert code(Credential.from_pem, b"nothing") == "identity-key-unreadable"
