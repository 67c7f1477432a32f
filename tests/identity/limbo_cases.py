"""x509-limbo's cases, each transplanted onto a chain of our profile: root, issuing authority, SPIFFE leaf.

The corpus (https://github.com/C2SP/x509-limbo, commit 8a2e6f4) is made for web servers: its leaves have DNS names, live
for a thousand years, and would all be refused for that. So each case is built here from its description, with the same
thing wrong and everything else right. `CASES` has those that apply, `NOT_OURS` the rest with the reason; together they
are the whole corpus, without the generated families ``bettertls::`` and ``online::``, which are web names throughout.

``STRICTER`` marks chains that limbo accepts, being sound by RFC 5280, and our profile refuses.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from ringfort.identity.authority import Issuer
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import key_usage
from ringfort.identity.errors import IdentityError, Refusal
from ringfort.identity.revocation import Revocations, Revoked, revoked, sign_list
from tests.identity.chains import (
    ACCEPTED,
    BOTH,
    ECDSA_SHA384,
    IP,
    ISSUER,
    LEAF,
    NAME,
    ROOT,
    URI,
    Spec,
    assemble,
    judge,
    key,
    named,
    outcome,
    sign,
    tagged,
)
from tests.identity.parties import DOMAIN, NOON

Case = Callable[[], str]
CA0, CA1 = x509.BasicConstraints(ca=True, path_length=0), x509.BasicConstraints(ca=True, path_length=1)
PERMITTED = IP(ip_network("10.10.0.0/16"))
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55738.666.1"), b"\x05\x00")
AIA = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, URI("http://ocsp"))])
OTHER_NAME = x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def raw(kind: type[x509.ExtensionType], content: bytes) -> x509.UnrecognizedExtension:
    """An extension of a known kind with bytes of our own."""
    return x509.UnrecognizedExtension(kind.oid, content)


USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def usage(**changes: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**{**dict.fromkeys(USAGES, False), **changes})


# Revocation lists


def with_list(change: Callable[[x509.CertificateRevocationListBuilder], x509.CertificateRevocationListBuilder]) -> str:
    """What comes of a list that is made by hand."""
    above, anchor = sign(ISSUER, ROOT), sign(ROOT, ROOT)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ISSUER.subject).last_update(NOON)
    signed = change(builder.next_update(NOON + timedelta(hours=1))).sign(key("issuer"), SHA)
    return of_list(signed, Bundle(DOMAIN, (anchor,), (above,)))


def of_list(crl: x509.CertificateRevocationList, bundle: Bundle) -> str:
    try:
        known = Revocations.from_lists([crl], bundle)
    except IdentityError as error:
        return error.code
    return judge(sign(LEAF, ISSUER), bundle, revoked=known)


def our_list(*entries: Revoked, issuer: Spec = ISSUER) -> str:
    above = sign(issuer, ROOT)
    crl = sign_list(Issuer(above, key("issuer")), 1, entries, NOON)
    return of_list(crl, Bundle(DOMAIN, (sign(ROOT, ROOT),), (above,)))


def other_issuers_list() -> str:
    """The same serial number, revoked by another authority."""
    other = replace(ISSUER, subject=named("other"), key=key("other"))
    both = Bundle(DOMAIN, (sign(ROOT, ROOT),), (sign(ISSUER, ROOT), sign(other, ROOT)))
    theirs = sign_list(Issuer(both.issuers[1], key("other")), 1, [revoked(sign(LEAF, other), NOON)], NOON)
    ours = sign_list(Issuer(both.issuers[0], key("issuer")), 1, (), NOON)
    return judge(sign(LEAF, ISSUER), both, revoked=Revocations.from_lists([theirs, ours], both))


SHA = SHA256()


def raw_constraints(content: str) -> Spec:
    """An issuing authority with name constraints of these bytes, inside their SEQUENCE."""
    extension = raw(x509.NameConstraints, tagged(0x30, bytes.fromhex(content)))
    return ISSUER.drop(x509.NameConstraints).add(extension, critical=True)


def raw_names(content: bytes) -> Spec:
    """A leaf with subject alternative names of these bytes, inside their SEQUENCE."""
    extension = raw(x509.SubjectAlternativeName, tagged(0x30, content))
    return LEAF.drop(x509.SubjectAlternativeName).add(extension, critical=True)


def bundle() -> Bundle:
    return Bundle(DOMAIN, (sign(ROOT, ROOT),), (sign(ISSUER, ROOT),))


# Chains of other shapes


def longer(first: Spec) -> str:
    """An authority below the issuing authority: root, ``first``, another, leaf."""
    second = replace(ISSUER, subject=named("second"), key=key("second"))
    bundle = Bundle(DOMAIN, (sign(ROOT, ROOT),), (sign(first, ROOT), sign(second, first)))
    return judge(sign(LEAF, second), bundle)


def under_root() -> str:
    return judge(sign(LEAF, ROOT), Bundle(DOMAIN, (sign(ROOT, ROOT),), (sign(ISSUER, ROOT),)))


def untrusted() -> str:
    stranger = replace(ROOT, key=key("stranger"))
    return judge(sign(LEAF, ISSUER), Bundle(DOMAIN, (sign(ROOT, ROOT),), (sign(ISSUER, stranger),)))


def cycle() -> str:
    """Two authorities that sign each other, and no root."""
    second = replace(ISSUER, subject=named("second"), key=key("second"))
    bundle = Bundle(DOMAIN, (sign(ROOT, ROOT),), (sign(ISSUER, second), sign(second, ISSUER)))
    return judge(sign(LEAF, ISSUER), bundle)


def self_cycle() -> str:
    """An authority of one name with two keys that sign each other."""
    second = replace(ISSUER, key=key("second"))
    bundle = Bundle(DOMAIN, (sign(ROOT, ROOT),), (sign(ISSUER, second), sign(second, ISSUER)))
    return judge(sign(LEAF, ISSUER), bundle)


def crowd(*, same_subject: bool, same_key: bool) -> str:
    """Hundreds of authorities that sign each other, where many look like the leaf's issuer."""
    members = [
        replace(
            ISSUER,
            subject=named("crowd" if same_subject else f"crowd {number}"),
            key=key("crowd" if same_key else f"crowd {number % 20}"),
            serial=number + 1,
        )
        for number in range(200)
    ]
    certificates = [sign(one, members[number - 1]) for number, one in enumerate(members)]
    return judge(sign(LEAF, members[-1]), Bundle(DOMAIN, (sign(ROOT, ROOT),), tuple(certificates)))


def many(permitted: int, excluded: int, names: int) -> str:
    """Constraints and names by the thousand."""
    allowed = [URI(f"p{number}.example") for number in range(permitted)]
    forbidden = [URI(f"x{number}.example") for number in range(excluded)]
    blocks = [IP(ip_network((0x0B000000 + 256 * number, 24))) for number in range(permitted)]
    leaf = LEAF.names(URI(NAME), *(IP(ip_address(0x0A0A0000 + number)) for number in range(names)))
    return outcome(issuer=ISSUER.constrain([*allowed, *blocks], forbidden), leaf=leaf)


def two_certificates_of_one_issuer(first: Spec) -> str:
    return outcome(others=[sign(first, ROOT)])


def with_stranger(spec: Spec, *, trusted: bool) -> str:
    """A certificate that nobody could use, and that nothing hangs on, among the known ones."""
    stranger = spec.add(UNKNOWN, critical=True)
    certificate = sign(stranger, stranger if trusted else ROOT)
    return outcome(roots=[certificate]) if trusted else outcome(others=[certificate])


def swapped() -> str:
    """The issuing authority is all that is trusted."""
    return judge(sign(LEAF, ISSUER), Bundle(DOMAIN, (sign(ISSUER, ROOT),), (sign(ROOT, ROOT),)))


def unreadable_issuer_key() -> str:
    point = key("issuer").public_key().public_numbers().x.to_bytes(32, "big")
    return outcome(issuer=replace(ISSUER, surgery=(point, b"\xff" * 32)))


def other_algorithm_outside() -> str:
    """The algorithm in the signed part is not the one beside the signature (RFC 5280, 4.1.1.2)."""
    return outcome(
        touch=lambda leaf: x509.load_der_x509_certificate(
            assemble(leaf.tbs_certificate_bytes, leaf.signature, ECDSA_SHA384)
        )
    )


def duplicate() -> str:
    first, second = x509.ObjectIdentifier("1.2.3.4"), x509.ObjectIdentifier("1.2.3.5")
    leaf = LEAF.add(x509.UnrecognizedExtension(first, b"\x05\x00")).add(x509.UnrecognizedExtension(second, b"\x05\x00"))
    return outcome(leaf=replace(leaf, surgery=(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04")))


def serial(after: bytes) -> str:
    """A leaf whose serial number is these bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # the library reads it today, and says so
        return outcome(leaf=replace(LEAF, serial=0x5A5A5A5A, surgery=(b"\x02\x04ZZZZ", tagged(0x02, after))))


def p192(spec: Spec) -> Spec:
    return replace(spec, key=ec.generate_private_key(ec.SECP224R1()))  # P-192 can't be made any more; as far below


def weak_dsa(spec: Spec) -> Spec:
    return replace(spec, key=dsa.generate_private_key(2048))


def rsa_key(spec: Spec) -> Spec:
    return replace(spec, key=rsa.generate_private_key(65537, 2048))


def root_aki(value: x509.AuthorityKeyIdentifier) -> str:
    return outcome(root=replace(ROOT, identifiers=(True, False)).add(value))


ROOT_ID = x509.SubjectKeyIdentifier.from_public_key(key("root").public_key()).digest
ROOT_NAME = [x509.DirectoryName(named("root"))]
DIRECTORY = [x509.DirectoryName(named("web"))]
ELSEWHERE = URI("elsewhere.example")
SECOND = timedelta(seconds=1)

CASES: dict[str, tuple[str | tuple[str, ...], Case]] = {
    # Revocation lists (RFC 5280, 5 and 6.3)
    "crl::revoked-certificate-with-crl": (Refusal.REVOKED, lambda: our_list(revoked(sign(LEAF, ISSUER), NOON))),
    "crl::crlnumber-missing": ("identity-revocation-list", lambda: with_list(lambda builder: builder)),
    "crl::certificate-not-on-crl": (ACCEPTED, our_list),
    "crl::certificate-serial-on-crl-different-issuer": (ACCEPTED, other_issuers_list),
    "crl::crlnumber-critical": (
        "identity-revocation-list",
        lambda: with_list(lambda builder: builder.add_extension(x509.CRLNumber(1), critical=True)),
    ),
    "crl::issuer-missing-crlsign": (
        "identity-revocation-list",
        lambda: our_list(issuer=ISSUER.put(usage(key_cert_sign=True), critical=True)),
    ),
    "crl::issuer-valid-crlsign-and-keycertsign": (ACCEPTED, our_list),
    # STRICTER: X509-SVID 4.3, key usage "MUST be set on all SVIDs"
    "crl::issuer-no-keyusage-extension": (
        "identity-revocation-list",
        lambda: our_list(issuer=ISSUER.drop(x509.KeyUsage)),
    ),
    # Path length: ours is root, issuing authority, leaf, and no other. STRICTER where limbo accepts longer ones.
    "pathlen::ee-with-intermediate-pathlen-0": (ACCEPTED, outcome),
    "pathlen::ee-with-intermediate-pathlen-1": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=ISSUER.put(CA1, critical=True)),
    ),
    "pathlen::ee-with-intermediate-pathlen-2": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=ISSUER.put(x509.BasicConstraints(ca=True, path_length=2), critical=True)),
    ),
    "pathlen::validation-ignores-pathlen-in-leaf": (
        Refusal.IS_AUTHORITY,
        lambda: outcome(leaf=LEAF.put(CA0, critical=True)),
    ),
    "pathlen::intermediate-violates-pathlen-0": (Refusal.OTHER_AUTHORITY, lambda: longer(ISSUER)),
    "pathlen::intermediate-pathlen-may-increase": (
        Refusal.OTHER_AUTHORITY,
        lambda: longer(ISSUER.put(CA1, critical=True)),
    ),
    "pathlen::intermediate-pathlen-too-long": (Refusal.OTHER_AUTHORITY, lambda: longer(ISSUER.put(CA1, critical=True))),
    "pathlen::self-issued-certs-pathlen": (
        Refusal.OTHER_AUTHORITY,
        lambda: longer(replace(ISSUER.put(CA1, critical=True), subject=ROOT.subject)),
    ),
    "pathlen::max-chain-depth-0": (Refusal.OTHER_AUTHORITY, under_root),
    "pathlen::max-chain-depth-0-exhausted": (Refusal.OTHER_AUTHORITY, under_root),
    "pathlen::max-chain-depth-1": (ACCEPTED, outcome),
    "pathlen::max-chain-depth-1-exhausted": (Refusal.OTHER_AUTHORITY, lambda: longer(ISSUER)),
    "pathlen::max-chain-depth-1-self-issued": (
        Refusal.OTHER_AUTHORITY,
        lambda: longer(replace(ISSUER, subject=ROOT.subject)),
    ),
    # Graphs, and chains made to be slow
    "pathological::multiple-chains-expired-intermediate": (
        ACCEPTED,
        lambda: two_certificates_of_one_issuer(replace(ISSUER, valid=(NOON - timedelta(days=9), NOON - SECOND))),
    ),
    "pathological::intermediate-cycle-distinct-cas": (Refusal.OTHER_AUTHORITY, cycle),
    "pathological::intermediate-cycle-distinct-cas-max-depth": (Refusal.OTHER_AUTHORITY, cycle),
    "pathological::intermediate-cycle-same-logical-ca": (Refusal.OTHER_AUTHORITY, self_cycle),
    "pathological::nc-dos-1": (Refusal.CONSTRAINTS, lambda: many(2048, 2048, 2048)),
    "pathological::nc-dos-2": (Refusal.CONSTRAINTS, lambda: many(2048, 1, 2048)),
    "pathological::nc-dos-3": (Refusal.CONSTRAINTS, lambda: many(1, 2048, 2048)),
    "pathological::pathological-chain-distinct-subject-distinct-key": (
        Refusal.OTHER_AUTHORITY,
        lambda: crowd(same_subject=False, same_key=False),
    ),
    "pathological::pathological-chain-same-subject-distinct-key": (
        Refusal.OTHER_AUTHORITY,
        lambda: crowd(same_subject=True, same_key=False),
    ),
    "pathological::pathological-chain-distinct-subject-same-key": (
        Refusal.OTHER_AUTHORITY,
        lambda: crowd(same_subject=False, same_key=True),
    ),
    "pathological::pathological-chain-same-subject-same-key": (
        Refusal.OTHER_AUTHORITY,
        lambda: crowd(same_subject=True, same_key=True),
    ),
    # Key identifiers
    "rfc5280::aki::critical-aki": (
        Refusal.PATH,
        lambda: outcome(
            leaf=replace(LEAF, identifiers=(True, False)).add(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key("issuer").public_key()), critical=True
            )
        ),
    ),
    "rfc5280::aki::leaf-missing-aki": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(leaf=replace(LEAF, identifiers=(True, False))),
    ),
    "rfc5280::aki::intermediate-missing-aki": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=replace(ISSUER, identifiers=(True, False))),
    ),
    "rfc5280::aki::self-signed-root-missing-aki": (
        ACCEPTED,
        lambda: outcome(root=replace(ROOT, identifiers=(True, False))),
    ),
    "rfc5280::ski::critical-ski": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(
            root=replace(ROOT, identifiers=(False, True)).add(x509.SubjectKeyIdentifier(ROOT_ID), critical=True)
        ),
    ),
    "rfc5280::ski::root-missing-ski": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(root=replace(ROOT, identifiers=(False, True))),
    ),
    "rfc5280::ski::intermediate-missing-ski": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=replace(ISSUER, identifiers=(False, True))),
    ),
    # Extended key usage
    "rfc5280::eku::ee-wrong-eku": (
        Refusal.KEY_USAGE,
        lambda: outcome(leaf=LEAF.put(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]))),
    ),
    "rfc5280::eku::ee-without-eku": (ACCEPTED, lambda: outcome(leaf=LEAF.drop(x509.ExtendedKeyUsage))),
    "rfc5280::eku::ee-eku-empty": (
        (Refusal.MALFORMED, Refusal.KEY_USAGE),
        lambda: outcome(leaf=LEAF.drop(x509.ExtendedKeyUsage).add(raw(x509.ExtendedKeyUsage, b"\x30\x00"))),
    ),
    # Name constraints; a case about DNS names is played with the host of a URI
    "rfc5280::nc::permitted-dns-mismatch": (Refusal.CONSTRAINTS, lambda: outcome(issuer=ISSUER.constrain([ELSEWHERE]))),
    "rfc5280::nc::excluded-dns-match": (
        Refusal.CONSTRAINTS,
        lambda: outcome(issuer=ISSUER.constrain([], [URI(DOMAIN)])),
    ),
    "rfc5280::nc::permitted-dns-match": (ACCEPTED, lambda: outcome(issuer=ISSUER.constrain([URI(DOMAIN)]))),
    "rfc5280::nc::permitted-dns-match-noncritical": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=ISSUER.put(x509.NameConstraints([URI(DOMAIN)], None), critical=False)),
    ),
    "rfc5280::nc::permitted-dns-match-more": (ACCEPTED, lambda: outcome(issuer=ISSUER.constrain([URI(".example")]))),
    "rfc5280::nc::excluded-dns-match-second": (
        Refusal.CONSTRAINTS,
        lambda: outcome(issuer=ISSUER.constrain([], [ELSEWHERE, URI(".example")])),
    ),
    "rfc5280::nc::permitted-ip-mismatch": (
        Refusal.CONSTRAINTS,
        lambda: outcome(leaf=LEAF.names(URI(NAME), IP(ip_address("10.20.1.2")))),
    ),
    "rfc5280::nc::excluded-ipv4-match": (
        Refusal.CONSTRAINTS,
        lambda: outcome(issuer=ISSUER.constrain([], [PERMITTED])),
    ),
    "rfc5280::nc::excluded-ipv6-match": (
        Refusal.CONSTRAINTS,
        lambda: outcome(
            issuer=ISSUER.constrain([], [IP(ip_network("fd00:10::/32"))]),
            leaf=LEAF.names(URI(NAME), IP(ip_address("fd00:10::2"))),
        ),
    ),
    "rfc5280::nc::permitted-ipv4-match": (ACCEPTED, lambda: outcome(issuer=ISSUER.constrain([PERMITTED]))),
    "rfc5280::nc::permitted-ipv6-match": (
        ACCEPTED,
        lambda: outcome(leaf=LEAF.names(URI(NAME), IP(ip_address("fd00:10::2")))),
    ),
    # A constraint that is not processed refuses (RFC 5280, 4.2.1.10), so STRICTER where a directory name is permitted
    "rfc5280::nc::permitted-dn-mismatch": (Refusal.CONSTRAINTS, lambda: outcome(issuer=ISSUER.constrain(DIRECTORY))),
    "rfc5280::nc::excluded-dn-match": (Refusal.CONSTRAINTS, lambda: outcome(issuer=ISSUER.constrain([], DIRECTORY))),
    "rfc5280::nc::permitted-dn-match": (
        Refusal.CONSTRAINTS,
        lambda: outcome(issuer=ISSUER.constrain(DIRECTORY), leaf=replace(LEAF, subject=named("web"))),
    ),
    "rfc5280::nc::permitted-dn-match-subject-san-mismatch": (
        Refusal.CONSTRAINTS,
        lambda: outcome(issuer=ISSUER.constrain([*DIRECTORY, ELSEWHERE]), leaf=replace(LEAF, subject=named("web"))),
    ),
    "rfc5280::nc::excluded-dn-match-sub-mismatch": (
        Refusal.CONSTRAINTS,
        lambda: outcome(issuer=ISSUER.constrain([], DIRECTORY), leaf=replace(LEAF, subject=named("web"))),
    ),
    "rfc5280::nc::excluded-self-issued-leaf": (
        Refusal.CONSTRAINTS,
        lambda: outcome(issuer=ISSUER.constrain([], [URI(DOMAIN)]), leaf=replace(LEAF, subject=ISSUER.subject)),
    ),
    "rfc5280::nc::excluded-match-permitted-and-excluded": (
        Refusal.CONSTRAINTS,
        lambda: outcome(issuer=ISSUER.constrain([URI(DOMAIN)], [URI(DOMAIN)])),
    ),
    "rfc5280::nc::permitted-different-constraint-type": (
        ACCEPTED,
        lambda: outcome(issuer=ISSUER.constrain([PERMITTED]), leaf=LEAF.names(URI(NAME), IP(ip_address("10.10.1.2")))),
    ),
    "rfc5280::nc::excluded-different-constraint-type": (
        ACCEPTED,
        lambda: outcome(issuer=ISSUER.constrain([], [ELSEWHERE])),
    ),
    "rfc5280::nc::invalid-ipv4-address": (
        (Refusal.MALFORMED, Refusal.OTHER_AUTHORITY),
        lambda: outcome(issuer=raw_constraints("a0083006 8704 7f000001")),
    ),
    "rfc5280::nc::invalid-ipv6-address": (
        (Refusal.MALFORMED, Refusal.OTHER_AUTHORITY),
        lambda: outcome(issuer=raw_constraints("a0143012 8710 00000000000000000000000000000001")),
    ),
    "rfc5280::nc::not-allowed-in-ee-noncritical": (
        Refusal.PATH,
        lambda: outcome(leaf=LEAF.add(x509.NameConstraints([URI(DOMAIN)], None), critical=False)),
    ),
    "rfc5280::nc::not-allowed-in-ee-critical": (
        Refusal.PATH,
        lambda: outcome(leaf=LEAF.add(x509.NameConstraints([URI(DOMAIN)], None), critical=True)),
    ),
    "rfc5280::nc::intermediate-with-san-rejected-by-intermediate-nc": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=ISSUER.add(x509.SubjectAlternativeName([URI("spiffe://elsewhere.example")]))),
    ),
    "rfc5280::nc::intermediate-with-san-rejected-by-root-nc": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(
            root=ROOT.constrain([ELSEWHERE]),
            issuer=ISSUER.add(x509.SubjectAlternativeName([URI(f"spiffe://{DOMAIN}")])),
        ),
    ),
    "rfc5280::nc::restrictive-permits-in-intermediates-narrows": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(root=ROOT.constrain([PERMITTED]), issuer=ISSUER.constrain([IP(ip_network("10.10.9.0/24"))])),
    ),
    "rfc5280::nc::restrictive-permits-in-intermediates-widens": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(root=ROOT.constrain([IP(ip_network("10.10.9.0/24"))])),
    ),
    "rfc5280::nc::nc-permits-invalid-ip-san": (
        Refusal.MALFORMED,
        lambda: outcome(leaf=raw_names(b"\x86" + bytes([len(NAME)]) + NAME.encode() + b"\x87\x05\x0a\x0a\x01\x02\x03")),
    ),
    "rfc5280::nc::nc-forbids-alternate-chain-ica": (
        ACCEPTED,
        lambda: two_certificates_of_one_issuer(ISSUER.constrain([ELSEWHERE])),
    ),
    # STRICTER: a name of a kind that nobody looks at is refused, constrained or not
    "rfc5280::nc::nc-forbids-othername": (Refusal.NAMES, lambda: outcome(leaf=LEAF.names(URI(NAME), OTHER_NAME))),
    "rfc5280::nc::nc-forbids-othername-noop": (Refusal.NAMES, lambda: outcome(leaf=LEAF.names(URI(NAME), OTHER_NAME))),
    "rfc5280::pc::ica-noncritical-pc": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=ISSUER.add(x509.PolicyConstraints(0, None), critical=False)),
    ),
    # Names and serial numbers
    "rfc5280::san::malformed": (Refusal.MALFORMED, lambda: outcome(leaf=raw_names(b"\x86\x7fcut off"))),
    "rfc5280::san::noncritical-with-empty-subject": (
        (Refusal.PATH, Refusal.NAMES),
        lambda: outcome(leaf=LEAF.names(URI(NAME), critical=False)),
    ),
    "rfc5280::serial::too-long": (
        (Refusal.MALFORMED, Refusal.PATH),
        lambda: serial(b"\x41" * 21),
    ),
    "rfc5280::serial::zero": ((Refusal.MALFORMED, Refusal.PATH), lambda: serial(b"\0")),
    "rfc5280::serial::negative": ((Refusal.MALFORMED, Refusal.PATH), lambda: serial(b"\xc1BCD")),
    # Validity: seconds, both ends included
    "rfc5280::validity::expired-root": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(root=replace(ROOT, valid=(NOON - timedelta(days=99), NOON - SECOND))),
    ),
    "rfc5280::validity::expired-intermediate": (
        Refusal.PATH,
        lambda: outcome(issuer=replace(ISSUER, valid=(NOON - timedelta(days=9), NOON - SECOND))),
    ),
    "rfc5280::validity::expired-leaf": (Refusal.EXPIRED, lambda: outcome(now=LEAF.valid[1] + timedelta(days=1))),
    "rfc5280::validity::notbefore-exact": (ACCEPTED, lambda: outcome(now=LEAF.valid[0])),
    "rfc5280::validity::notbefore-fractional": (
        Refusal.NOT_YET_VALID,
        lambda: outcome(now=LEAF.valid[0] - timedelta(milliseconds=1)),
    ),
    "rfc5280::validity::notafter-exact": (ACCEPTED, lambda: outcome(now=LEAF.valid[1])),
    "rfc5280::validity::notafter-fractional": (
        ACCEPTED,
        lambda: outcome(now=LEAF.valid[1] + timedelta(milliseconds=5)),
    ),
    "rfc5280::validity::expired-1-second": (Refusal.EXPIRED, lambda: outcome(now=LEAF.valid[1] + SECOND)),
    "rfc5280::validity::expired-5-seconds": (Refusal.EXPIRED, lambda: outcome(now=LEAF.valid[1] + 5 * SECOND)),
    "rfc5280::validity::not-yet-valid-1-second": (Refusal.NOT_YET_VALID, lambda: outcome(now=LEAF.valid[0] - SECOND)),
    "rfc5280::validity::not-yet-valid-5-seconds": (
        Refusal.NOT_YET_VALID,
        lambda: outcome(now=LEAF.valid[0] - 5 * SECOND),
    ),
    # The rest of RFC 5280
    "rfc5280::ee-empty-issuer": (Refusal.OTHER_AUTHORITY, lambda: outcome(leaf=replace(LEAF, issuer=named("")))),
    "rfc5280::ca-empty-subject": (
        (Refusal.OTHER_AUTHORITY, Refusal.PATH),
        lambda: outcome(issuer=replace(ISSUER, subject=named(""))),
    ),
    "rfc5280::unknown-critical-extension-ee": (Refusal.PATH, lambda: outcome(leaf=LEAF.add(UNKNOWN, critical=True))),
    "rfc5280::unknown-critical-extension-root": (
        (Refusal.PATH, Refusal.OTHER_AUTHORITY),
        lambda: outcome(root=ROOT.add(UNKNOWN, critical=True)),
    ),
    "rfc5280::unknown-critical-extension-intermediate": (
        Refusal.PATH,
        lambda: outcome(issuer=ISSUER.add(UNKNOWN, critical=True)),
    ),
    "rfc5280::unknown-critical-extension-unrelated-root": (
        ACCEPTED,
        lambda: with_stranger(replace(ROOT, subject=named("x"), key=key("x")), trusted=True),
    ),
    "rfc5280::unknown-critical-extension-unrelated-intermediate": (
        ACCEPTED,
        lambda: with_stranger(replace(ISSUER, subject=named("x"), key=key("x")), trusted=False),
    ),
    "rfc5280::chain-untrusted-root": (Refusal.OTHER_AUTHORITY, untrusted),
    "rfc5280::intermediate-ca-without-ca-bit": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=ISSUER.put(x509.BasicConstraints(ca=False, path_length=None), critical=True)),
    ),
    "rfc5280::intermediate-ca-missing-basic-constraints": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=ISSUER.drop(x509.BasicConstraints)),
    ),
    "rfc5280::root-missing-basic-constraints": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(root=ROOT.drop(x509.BasicConstraints)),
    ),
    "rfc5280::root-non-critical-basic-constraints": (Refusal.OTHER_AUTHORITY, lambda: outcome(root=ROOT.put(CA1))),
    "rfc5280::root-inconsistent-ca-extensions": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(root=ROOT.put(key_usage(authority=False), critical=True)),
    ),
    "rfc5280::ica-ku-keycertsign": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=ISSUER.put(usage(crl_sign=True), critical=True)),
    ),
    "rfc5280::leaf-ku-keycertsign": (
        Refusal.IS_AUTHORITY,
        lambda: outcome(leaf=LEAF.put(usage(digital_signature=True, key_cert_sign=True), critical=True)),
    ),
    "rfc5280::ee-aia": (ACCEPTED, lambda: outcome(leaf=LEAF.add(AIA))),
    "rfc5280::ee-critical-aia-invalid": (Refusal.PATH, lambda: outcome(leaf=LEAF.add(AIA, critical=True))),
    "rfc5280::duplicate-extensions": (Refusal.MALFORMED, duplicate),
    # STRICTER: X509-SVID 4.1 and 4.3, a leaf says what it is
    "rfc5280::no-keyusage": (Refusal.KEY_USAGE, lambda: outcome(leaf=LEAF.drop(x509.KeyUsage))),
    "rfc5280::no-basicconstraints": (Refusal.PATH, lambda: outcome(leaf=LEAF.drop(x509.BasicConstraints))),
    "rfc5280::mismatching-signature-algorithm": (
        (Refusal.PATH, Refusal.MALFORMED, "unreadable"),
        other_algorithm_outside,
    ),
    # STRICTER: X509-SVID 5.2, and the trusted set has roots only
    "rfc5280::ca-as-leaf": (Refusal.IS_AUTHORITY, lambda: judge(sign(ISSUER, ROOT), bundle())),
    "rfc5280::ca-as-leaf-wrong-san": (Refusal.IS_AUTHORITY, lambda: judge(sign(ISSUER, ROOT), bundle())),
    "rfc5280::root-and-intermediate-swapped": (Refusal.OTHER_AUTHORITY, swapped),
    "invalid::invalid-issuer-key": ((Refusal.OTHER_AUTHORITY, Refusal.MALFORMED), unreadable_issuer_key),
    # What the web's rules share with ours
    "webpki::aki::root-with-aki-missing-keyidentifier": (
        Refusal.OTHER_AUTHORITY,
        lambda: root_aki(x509.AuthorityKeyIdentifier(None, ROOT_NAME, ROOT.serial)),
    ),
    "webpki::aki::root-with-aki-authoritycertissuer": (
        ACCEPTED,  # a rule of the web's alone: an anchor's own issuer is not looked at (RFC 5280, 6.1.1 (d))
        lambda: root_aki(x509.AuthorityKeyIdentifier(ROOT_ID, ROOT_NAME, ROOT.serial)),
    ),
    "webpki::aki::root-with-aki-authoritycertserialnumber": (
        Refusal.OTHER_AUTHORITY,
        lambda: root_aki(x509.AuthorityKeyIdentifier(None, ROOT_NAME, ROOT.serial)),
    ),
    "webpki::aki::root-with-aki-all-fields": (
        ACCEPTED,
        lambda: root_aki(x509.AuthorityKeyIdentifier(ROOT_ID, ROOT_NAME, ROOT.serial)),
    ),
    "webpki::eku::ee-anyeku": (
        Refusal.KEY_USAGE,
        lambda: outcome(leaf=LEAF.put(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]))),
    ),
    "webpki::eku::root-has-eku": (Refusal.OTHER_AUTHORITY, lambda: outcome(root=ROOT.add(x509.ExtendedKeyUsage(BOTH)))),
    "webpki::nc::intermediate-permitted-excluded-subtrees-both-null": (
        (Refusal.MALFORMED, Refusal.OTHER_AUTHORITY),
        lambda: outcome(issuer=raw_constraints("")),
    ),
    "webpki::nc::intermediate-permitted-excluded-subtrees-both-empty-sequences": (
        (Refusal.MALFORMED, Refusal.OTHER_AUTHORITY),
        lambda: outcome(issuer=raw_constraints("a000a100")),
    ),
    "webpki::san::exact-localhost-ip-san": (ACCEPTED, lambda: outcome(address="10.10.1.2")),
    "webpki::san::mismatch-domain-san": (Refusal.WRONG_ADDRESS, lambda: outcome(address="10.10.1.3")),
    "webpki::san::no-san": (
        Refusal.NAMES,
        lambda: outcome(leaf=replace(LEAF, subject=named("x")).drop(x509.SubjectAlternativeName)),
    ),
    "webpki::malformed-aia": (
        (Refusal.MALFORMED, Refusal.PATH),
        lambda: outcome(leaf=LEAF.add(raw(x509.AuthorityInformationAccess, b"\x30\x04nope"))),
    ),
    "webpki::forbidden-p192-root": (Refusal.OTHER_AUTHORITY, lambda: outcome(root=p192(ROOT))),
    "webpki::forbidden-p192-leaf": (Refusal.KEY_KIND, lambda: outcome(leaf=p192(LEAF))),
    "webpki::forbidden-dsa-root": ((Refusal.KEY_KIND, Refusal.OTHER_AUTHORITY), lambda: outcome(root=weak_dsa(ROOT))),
    "webpki::forbidden-dsa-leaf": (Refusal.KEY_KIND, lambda: outcome(leaf=weak_dsa(LEAF))),
    "webpki::forbidden-weak-rsa-key-in-root": (Refusal.KEY_KIND, lambda: outcome(root=rsa_key(ROOT))),
    "webpki::forbidden-weak-rsa-in-leaf": (Refusal.KEY_KIND, lambda: outcome(leaf=rsa_key(LEAF))),
    "webpki::v1-cert": (
        ("unreadable", Refusal.MALFORMED, Refusal.PATH),
        lambda: outcome(leaf=replace(LEAF, surgery=(bytes.fromhex("a003020102"), bytes.fromhex("a003020100")))),
    ),
    "webpki::ee-basicconstraints-ca": (
        Refusal.IS_AUTHORITY,
        lambda: outcome(leaf=LEAF.put(x509.BasicConstraints(ca=True, path_length=None), critical=True)),
    ),
    "webpki::ca-as-leaf": (Refusal.IS_AUTHORITY, lambda: judge(sign(ISSUER, ROOT), bundle())),
    # Where SPIFFE allows what the web forbids
    "webpki::eku::ee-critical-eku": (
        ACCEPTED,
        lambda: outcome(leaf=LEAF.put(x509.ExtendedKeyUsage(BOTH), critical=True)),
    ),
    "webpki::eku::ee-without-eku": (ACCEPTED, lambda: outcome(leaf=LEAF.drop(x509.ExtendedKeyUsage))),
    # RFC 5280, 4.2.1.6: "should" not be critical then; the library says "must not"
    "webpki::san::san-critical-with-nonempty-subject": (
        Refusal.PATH,
        lambda: outcome(leaf=replace(LEAF, subject=named("web"))),
    ),
    # Where the web allows what RFC 5280 forbids
    "webpki::nc::permitted-dns-match-noncritical": (
        Refusal.OTHER_AUTHORITY,
        lambda: outcome(issuer=ISSUER.put(x509.NameConstraints([URI(DOMAIN)], None), critical=False)),
    ),
}

WEB_NAMES = "about DNS names or wildcards, which no leaf of ours may have (see the test of names of other kinds)"
COMMON_NAMES = "about a name in the subject's CN, which is never read"
MAIL = "about mail addresses, which no leaf of ours may have"
LONGER = "about chains with more than one authority below the root, all of which are refused (see pathlen)"
WEB_CHAIN = "a real web site's chain"

NOT_OURS: dict[str, str] = {
    "cve::cve-2024-0567": LONGER,
    "cve::cve-2025-61727": WEB_NAMES,
    "cve::cve-2025-61727-nc-permits-variant": WEB_NAMES,
    "rfc5280::aki::cross-signed-root-missing-aki": "a root is signed by itself here; cross-signed ones are not roots",
    "rfc5280::nc::permitted-self-issued": LONGER,
    "rfc5280::nc::invalid-dnsname-wildcard": WEB_NAMES,
    "rfc5280::nc::invalid-dnsname-leading-period": WEB_NAMES,
    "rfc5280::nc::invalid-email-address": MAIL,
    "rfc5280::nc::nc-permits-invalid-dns-san": WEB_NAMES,
    "rfc5280::nc::nc-permits-invalid-email-san": MAIL,
    "rfc5280::nc::nc-forbids-same-chain-ica": LONGER,
    "rfc5280::nc::nc-permits-email-exact": MAIL,
    "rfc5280::nc::nc-permits-email-domain": MAIL,
    "rfc5280::nc::nc-permits-email-literal-asterisk-exact-match": MAIL,
    "rfc5280::nc::nc-permits-email-literal-asterisk-rejects-user": MAIL,
    "rfc5280::nc::nc-permits-email-literal-asterisk-rejects-subdomain": MAIL,
    "rfc5280::nc::nc-permits-email-literal-double-asterisk": MAIL,
    "rfc5280::nc::nc-permits-email-literal-double-asterisk-rejects-single": MAIL,
    "rfc5280::nc::nc-permits-email-literal-mid-asterisk": MAIL,
    "rfc5280::nc::nc-forbids-dnsname-wildcard-san": WEB_NAMES,
    "rfc5280::san::underscore-dns": WEB_NAMES,
    "rfc5280::san::ip-in-dns": WEB_NAMES,
    "webpki::aki::root-with-aki-ski-mismatch": "an anchor's own issuer is not looked at (RFC 5280, 6.1.1 (d))",
    "webpki::cn::ipv4-hex-mismatch": COMMON_NAMES,
    "webpki::cn::ipv4-leading-zeros-mismatch": COMMON_NAMES,
    "webpki::cn::ipv6-uppercase-mismatch": COMMON_NAMES,
    "webpki::cn::ipv6-uncompressed-mismatch": COMMON_NAMES,
    "webpki::cn::ipv6-non-rfc5952-mismatch": COMMON_NAMES,
    "webpki::cn::punycode-not-in-san": COMMON_NAMES,
    "webpki::cn::utf8-vs-punycode-mismatch": COMMON_NAMES,
    "webpki::cn::not-in-san": COMMON_NAMES,
    "webpki::cn::case-mismatch": COMMON_NAMES,
    "webpki::nc::nc-permits-dns-san-pattern": WEB_NAMES,
    "webpki::san::exact-dns-san": WEB_NAMES,
    "webpki::san::mismatch-subdomain-san": WEB_NAMES,
    "webpki::san::mismatch-subdomain-apex-san": WEB_NAMES,
    "webpki::san::mismatch-apex-subdomain-san": WEB_NAMES,
    "webpki::san::public-suffix-wildcard-san": WEB_NAMES,
    "webpki::san::public-suffix-multi-label-wildcard-san": WEB_NAMES,
    "webpki::san::public-suffix-private-namespace-wildcard-san": WEB_NAMES,
    "webpki::san::leftmost-wildcard-san": WEB_NAMES,
    "webpki::san::wildcard-embedded-leftmost-san": WEB_NAMES,
    "webpki::san::wildcard-not-in-leftmost-san": WEB_NAMES,
    "webpki::san::wildcard-match-across-labels-san": WEB_NAMES,
    "webpki::san::wildcard-embedded-ulabel-san": WEB_NAMES,
    "webpki::san::unicode-emoji-san": WEB_NAMES,
    "webpki::san::san-wildcard-only": WEB_NAMES,
    "webpki::san::san-wildcard-only-tld": WEB_NAMES,
    "webpki::explicit-curve": "the library writes no explicit curve parameters; the corpus's own chain is refused",
    "webpki::cryptographydotio-chain": WEB_CHAIN,
    "webpki::cryptographydotio-chain-missing-intermediate": WEB_CHAIN,
    "webpki::forbidden-rsa-not-divisible-by-8-in-root": "about sizes of RSA keys, all of which are refused",
    "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf": "about sizes of RSA keys, all of which are refused",
}
"""Cases of the corpus that do not apply, and why."""

TOTAL = 194
"""Cases of the corpus, without ``bettertls::`` and ``online::``."""
