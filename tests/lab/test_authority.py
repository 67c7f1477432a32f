"""Keys of the lab: made once, kept while they say what they should, private, and worth nothing elsewhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509

from ringfort.environment.model import Environment
from ringfort.errors import RingfortError
from ringfort.lab import authority
from ringfort.lab.authority import LISTS_FILE, Holder, ensure, holders, key_file
from tests.lab import worlds

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DOMAIN = "lab.example"
SITES = {"north": (ip_network("10.0.0.0/16"), ip_network("fd00::/32"))}
HOLDERS = (
    Holder("@web", f"spiffe://{DOMAIN}/node/web", (ip_address("10.0.0.1"),)),
    Holder("app@web", f"spiffe://{DOMAIN}/service/app", (ip_address("10.0.0.1"), ip_address("fd00::1"))),
)
OTHERS = tuple(replace(holder, identity=holder.identity.replace(DOMAIN, "other.example")) for holder in HOLDERS)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return worlds.environment(tmp_path_factory.mktemp("small"), worlds.SMALL, "keys")


def certificate(directory: Path, holder: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(key_file(directory, holder).read_bytes())


def test_a_host_holds_its_own_identity_and_those_of_its_services(small: Environment) -> None:
    held = {holder.name: holder.identity for holder in holders(small)}
    assert held["@web-1"] == "spiffe://lab.example/node/web-1"
    assert held["web@web-1"] == "spiffe://lab.example/service/web"
    assert "app@web-1" not in held


def test_a_certificate_names_one_identity_and_its_addresses(tmp_path: Path) -> None:
    ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)
    names = certificate(tmp_path, "app@web").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://{DOMAIN}/service/app"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.0.0.1"), ip_address("fd00::1")]


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    ensure(keys, DOMAIN, SITES, HOLDERS, NOW)
    assert keys.stat().st_mode & 0o077 == 0
    names = ("@web.pem", "app@web.pem", "authority.pem", "revoked.pem", "passphrase", "manifest.json")
    files = [file for file in keys.iterdir() if file.is_file()]
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in files} == dict.fromkeys(names, "0o600")
    assert (keys / "authority").stat().st_mode & 0o077 == 0


def test_a_second_time_nothing_is_made(tmp_path: Path) -> None:
    assert len(ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)) == 2
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    assert ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW + timedelta(hours=12)) == ()
    assert authority.missing(tmp_path, HOLDERS, NOW + timedelta(hours=12)) == 0
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before


@pytest.mark.parametrize(
    ("changed", "made"),
    [
        pytest.param(Holder("@web", "spiffe://lab.example/node/other", HOLDERS[0].addresses), ("@web",), id="its name"),
        pytest.param(Holder("@web", HOLDERS[0].identity, (ip_address("10.0.0.9"),)), ("@web",), id="its address"),
        pytest.param(HOLDERS[0], (), id="nothing"),
    ],
)
def test_what_changed_is_made_anew_and_nothing_else(tmp_path: Path, changed: Holder, made: tuple[str, ...]) -> None:
    ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)
    wanted = (changed, HOLDERS[1])
    assert authority.missing(tmp_path, wanted, NOW) == len(made)
    assert ensure(tmp_path, DOMAIN, SITES, wanted, NOW) == made


def test_a_certificate_near_its_end_is_made_anew(tmp_path: Path) -> None:
    ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)
    later = NOW + authority.LIFETIME - authority.RENEW_BEFORE
    assert len(ensure(tmp_path, DOMAIN, SITES, HOLDERS, later)) == 2
    assert certificate(tmp_path, "@web").not_valid_after_utc > later + authority.LIFETIME - timedelta(minutes=6)


def test_no_certificate_lives_longer_than_a_day(tmp_path: Path) -> None:
    ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)
    for holder in HOLDERS:
        made = certificate(tmp_path, holder.name)
        assert made.not_valid_after_utc - made.not_valid_before_utc <= timedelta(hours=24)


def test_each_site_issues_for_its_own_addresses(tmp_path: Path) -> None:
    sites = SITES | {"south": (ip_network("10.20.0.0/16"),)}
    south = Holder("@far", f"spiffe://{DOMAIN}/node/far", (ip_address("10.20.0.1"),))
    ensure(tmp_path, DOMAIN, sites, (*HOLDERS, south), NOW)
    assert certificate(tmp_path, "@far").issuer != certificate(tmp_path, "@web").issuer
    nowhere = Holder("@lost", f"spiffe://{DOMAIN}/node/lost", (ip_address("192.0.2.1"),))
    with pytest.raises(RingfortError, match="at no site"):
        ensure(tmp_path, DOMAIN, sites, (nowhere,), NOW)


def test_a_lost_key_is_made_anew(tmp_path: Path) -> None:
    ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)
    key_file(tmp_path, "@web").unlink()
    assert ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW) == ("@web",)


@pytest.mark.parametrize(
    "file",
    [
        "authority/bundle.pem",
        "authority/issuers/north.pem",
        "authority/issuers/north.key",
        "authority/crl/north.pem",
        "manifest.json",
    ],
)
def test_with_a_broken_file_everything_is_made_anew(tmp_path: Path, file: str) -> None:
    ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)
    (tmp_path / file).write_text("{broken")
    assert len(ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)) == 2


def test_another_trust_domain_gets_another_authority(tmp_path: Path) -> None:
    ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)
    assert len(ensure(tmp_path, "other.example", SITES, OTHERS, NOW)) == 2


def test_the_keys_of_a_removed_holder_go(tmp_path: Path) -> None:
    ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)
    ensure(tmp_path, DOMAIN, SITES, HOLDERS[:1], NOW)
    assert not key_file(tmp_path, "app@web").exists()


def test_revocation_lists_are_there_and_are_signed_anew_before_they_end(tmp_path: Path) -> None:
    def lists() -> list[x509.CertificateRevocationList]:
        end = b"-----END X509 CRL-----"
        blocks = (tmp_path / LISTS_FILE).read_bytes().split(end)[:-1]
        return [x509.load_pem_x509_crl(block + end) for block in blocks]

    ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW)
    first = lists()
    assert len(first) == len(SITES) + 1, "one of each site's authority, and the root's"
    ensure(tmp_path, DOMAIN, SITES, HOLDERS, NOW + timedelta(hours=1))
    assert lists() == first
    later = NOW + timedelta(hours=20)
    ensure(tmp_path, DOMAIN, SITES, HOLDERS, later)
    assert all(one.next_update_utc is not None and one.next_update_utc > later + timedelta(hours=8) for one in lists())
