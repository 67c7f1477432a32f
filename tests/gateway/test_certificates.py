"""The reader of certificates inside HAProxy agrees with an independent one, and refuses whatever is not sound."""

from __future__ import annotations

import random
import subprocess
import warnings
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ringfort.gateway.haproxy import LUA
from ringfort.gateway.process import PROGRAM

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 1, 1, tzinfo=UTC)
URI = "spiffe://gate.example/service/web"
Name = x509.GeneralName

HARNESS = """
local fetches, taken = {{}}, core.register_fetches
core.register_fetches = function(name, fetch) fetches[name] = fetch end
dofile("{lua}")
core.register_fetches = taken
local out = io.open("{answers}", "w")
for line in io.lines("{cases}") do
  local source, hex = line:match("^(%S+) (%x*)$")
  local der = hex:gsub("..", function(two) return string.char(tonumber(two, 16)) end)
  local txn = {{f = {{ssl_c_der = function() return der end, src = function() return source end}}}}
  out:write(fetches.ringfort_caller(txn), " ", fetches.ringfort_at_home(txn), "\\n")
end
out:close()
"""


def certificate(*names: Name, authority: bool | None = None, extra: int = 0) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(7 + extra)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=extra % 2 == 0)
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
    for number in range(extra):
        oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.55555.{number}")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, bytes(200 * number)), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def uri(text: str) -> Name:
    return x509.UniformResourceIdentifier(text)


def ip(text: str) -> Name:
    return x509.IPAddress(ip_address(text))


def answers(directory: Path, cases: list[tuple[str, bytes]]) -> list[tuple[str, str]]:
    """What HAProxy's Lua says of (source, certificate): the caller, and whether it is at home."""
    (directory / "identity.lua").write_bytes(LUA)
    (directory / "cases").write_text("".join(f"{source} {der.hex()}\n" for source, der in cases))
    names = {name: directory / file for name, file in (("lua", "identity.lua"), ("answers", "out"), ("cases", "cases"))}
    (directory / "harness.lua").write_text(HARNESS.format(**names))
    listener = f"frontend none\n    mode tcp\n    timeout client 1s\n    bind unix@{directory / 's'}\n"
    (directory / "haproxy.cfg").write_text(f"global\n    lua-load {directory / 'harness.lua'}\n{listener}")
    subprocess.run([PROGRAM, "-c", "-f", str(directory / "haproxy.cfg")], check=True, capture_output=True, timeout=60)
    return [(line.split()[0], line.split()[1]) for line in (directory / "out").read_text().splitlines()]


def test_a_caller_is_named_only_by_a_sound_certificate(tmp_path: Path) -> None:
    many = [x509.DNSName(f"h{number}.example") for number in range(300)]
    cases: list[tuple[str, bytes, str, str]] = [
        ("10.0.0.1", certificate(uri(URI), ip("10.0.0.1")), URI, "yes"),
        ("10.0.0.1", certificate(uri(URI), ip("10.0.0.1"), authority=False, extra=5), URI, "yes"),
        ("10.0.0.1", certificate(*many, uri(URI), ip("10.0.0.2"), ip("10.0.0.1")), URI, "yes"),
        ("fd00:10::1", certificate(uri(URI), ip("fd00:10::1")), URI, "yes"),
        ("fd00:10:0:1::aB", certificate(uri(URI), ip("fd00:10:0:1:0:0:0:ab")), URI, "yes"),
        ("fd00:10::2", certificate(uri(URI), ip("fd00:10::1"), ip("10.0.0.1")), URI, "no"),
        ("10.0.0.11", certificate(uri(URI), ip("10.0.0.1")), URI, "no"),
        ("10.0.0.1", certificate(uri(URI)), URI, "no"),
        ("10.0.0.1", certificate(uri(URI), uri(URI)), "!certificate-names", "no"),
        ("10.0.0.1", certificate(ip("10.0.0.1")), "!certificate-names", "yes"),
        ("10.0.0.1", certificate(), "!certificate-names", "no"),
        ("10.0.0.1", certificate(uri(URI), authority=True), "!certificate-names", "no"),
        ("10.0.0.1", certificate(uri("spiffe://gate.example")), "!certificate-names", "no"),
        ("10.0.0.1", certificate(uri("spiffe://gate.example/service/we b")), "!certificate-names", "no"),
        ("10.0.0.1", certificate(uri("SPIFFE://gate.example/service/web")), "!certificate-names", "no"),
        ("10.0.0.1", b"", "!no-certificate", "no"),
        ("10.0.0.1", b"\x30", "!certificate-names", "no"),
    ]
    found = answers(tmp_path, [(source, der) for source, der, _, _ in cases])
    assert found == [(caller, home) for _, _, caller, home in cases]


def _independent(der: bytes) -> tuple[str, set[str]] | None:
    """Identity and addresses as cryptography reads them; none where it refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of serial numbers, which are not the question
            extensions = x509.load_der_x509_certificate(der).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    except (ValueError, TypeError, x509.InvalidVersion, x509.ExtensionNotFound, x509.DuplicateExtension):
        return None
    return (uris[0], addresses) if len(uris) == 1 else None


def _agrees(directory: Path, cases: list[tuple[str, bytes]]) -> int:
    """Check that Lua names nobody that cryptography doesn't name; how often both name the same."""
    agreed = 0
    for (caller, home), (source, der) in zip(answers(directory, cases), cases, strict=True):
        independent = _independent(der)
        if independent is None:
            continue
        identity, addresses = independent
        assert caller in (identity, "!certificate-names"), der.hex()
        assert home == "no" or source in addresses, der.hex()
        agreed += caller == identity
    return agreed


SOUND = [
    certificate(uri(URI), ip("10.0.0.1")),
    certificate(x509.DNSName("web.example"), uri(URI), ip("10.0.0.1"), ip("fd00::1"), authority=False, extra=3),
    certificate(uri(URI), uri("spiffe://gate.example/service/app"), ip("10.0.0.1")),
]


@pytest.mark.parametrize("seed", range(2))
def test_a_certificate_changed_anywhere_is_never_taken_for_another_caller(tmp_path: Path, seed: int) -> None:
    """Whom Lua names, cryptography names too; what cryptography can't read is at most refused."""
    random_ = random.Random(seed)
    cases: list[tuple[str, bytes]] = []
    for _ in range(4000):
        changed = bytearray(random_.choice(SOUND))
        for _ in range(random_.choice((1, 1, 1, 2, 3))):
            place = random_.randrange(len(changed))
            match random_.randrange(4):
                case 0:
                    changed[place] ^= 1 << random_.randrange(8)
                case 1:
                    changed[place] = random_.randrange(256)
                case 2:
                    del changed[place]
                case 3:
                    changed.insert(place, random_.randrange(256))
        cases.append(("10.0.0.1", bytes(changed)))
    assert _agrees(tmp_path, cases) > 500, "enough of them are still sound for the comparison to mean something"


ASCII = st.text("abz019./-_:%@ ", max_size=20)
PATHS = st.sampled_from([URI, "spiffe://gate.example/node/web", "spiffe://gate.example", "https://gate.example/x"])
OIDS = st.lists(st.integers(0, 2**40), min_size=1, max_size=5).map(lambda tail: ".".join(map(str, [1, 3, *tail])))
NAMES = st.one_of(
    st.builds(uri, st.one_of(PATHS, ASCII, ASCII.map(lambda text: f"spiffe://{text}"))),
    st.builds(x509.IPAddress, st.one_of(st.ip_addresses(), st.just(ip_address("10.0.0.1")))),
    st.builds(x509.DNSName, ASCII),
    st.just(x509.RFC822Name("web@gate.example")),
    OIDS.map(lambda text: x509.RegisteredID(x509.ObjectIdentifier(text))),
    st.builds(x509.OtherName, OIDS.map(x509.ObjectIdentifier), st.just(SOUND[0])),
)
CERTIFICATES = st.builds(
    lambda names, authority, extra: certificate(*names, authority=authority, extra=extra),
    st.lists(NAMES, max_size=6),
    st.sampled_from([None, None, False, True]),
    st.integers(0, 4),
)
SOURCES = st.one_of(st.just("10.0.0.1"), st.ip_addresses().map(str))


@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cases=st.lists(st.tuples(SOURCES, st.one_of(CERTIFICATES, st.binary(max_size=80))), min_size=1, max_size=60))
def test_certificates_with_any_names_are_read_as_cryptography_reads_them(
    tmp_path: Path, cases: list[tuple[str, bytes]]
) -> None:
    _agrees(tmp_path, cases)
    for (caller, _), (_, der) in zip(answers(tmp_path, cases), cases, strict=True):
        independent = _independent(der)
        if independent is not None and independent[0] == URI and not _is_authority(der):
            assert caller == URI, "a sound certificate is not refused"


def _is_authority(der: bytes) -> bool:
    extensions = x509.load_der_x509_certificate(der).extensions
    return any(isinstance(one.value, x509.BasicConstraints) and one.value.ca for one in extensions)
