"""An ordinary client, Debian's certbot, gets, renews and revokes certificates through the edge."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ringfort.gateway.edge.model import Health, Limits, TlsMode
from ringfort.lab.state import write_private
from tests.gateway.acme_world import acme, gateway_at
from tests.gateway.edges import EDGE, World, ask, free_port, world

DOOR, WWW = "acme.shop.example", "www.shop.example"


class Certbot:
    """It believes that our names are on the internet: its /etc/hosts says so."""

    def __init__(self, edge: World, directory: Path) -> None:
        self._directory = directory
        self._server = f"https://{DOOR}:{edge.edge.tls_port}/directory"
        self._bundle = edge.bundle
        (directory / "hosts").write_text(f"127.0.0.1 localhost {DOOR} {WWW}\n")

    def run(self, *words: str) -> str:
        places = [f"--{kind}-dir={self._directory / kind}" for kind in ("config", "work", "logs")]
        command = ["certbot", *words, "--non-interactive", "--server", self._server, *places]
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script, str(self._directory / "hosts"), *command],
            capture_output=True, text=True, timeout=120, env={**os.environ, "REQUESTS_CA_BUNDLE": self._bundle},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def live(self) -> Path:
        return self._directory / "config" / "live" / WWW

    def pem(self) -> bytes:
        return (self.live / "fullchain.pem").read_bytes() + (self.live / "privkey.pem").read_bytes()

    def leaf(self) -> x509.Certificate:
        return x509.load_pem_x509_certificates((self.live / "fullchain.pem").read_bytes())[0]


@pytest.mark.lab
def test_certbot_obtains_renews_and_revokes_through_the_edge(tmp_path: Path) -> None:
    with world() as edge:
        port = free_port()
        url = f"https://{DOOR}:{edge.edge.tls_port}"
        gateways = [gateway_at(edge.edge.plain_port)]
        with acme(
            tmp_path, gateways, url=url, port=port, authority=(edge.root, edge.issuer), trusted=(EDGE,)
        ) as server:
            application = edge.application("shop")
            application.files = tmp_path / "webroot"
            application.files.mkdir()
            door = edge.application("unused")
            behind = replace(door.server("acme"), port=port)
            edge.serve(
                edge.endpoint(WWW, application.server(), tls=TlsMode.CERTIFICATE),
                replace(edge.endpoint(DOOR, behind, customer="platform"), health=Health("/directory")),
                limits={"platform": Limits()},
            )  # fmt: skip
            certbot = Certbot(edge, tmp_path)
            certbot.run(
                "certonly", "--webroot", "-w", str(application.files), "-d", WWW, "--agree-tos",
                "--register-unsafely-without-email",
            )  # fmt: skip
            first = certbot.leaf()
            write_private(Path(edge.edge.endpoints[0].certificate), certbot.pem())
            edge.serve(*edge.edge.endpoints)
            with edge.visit(WWW) as connection:
                assert connection.getpeercert(True) == first.public_bytes(Encoding.DER)
                assert ask(connection, WWW)[2] == b"shop 0\n"
                certbot.run("renew", "--force-renewal", "--no-random-sleep-on-renew")
                second = certbot.leaf()
                assert second.serial_number != first.serial_number
                write_private(Path(edge.edge.endpoints[0].certificate), certbot.pem())
                assert edge.serve(*edge.edge.endpoints).process == "renewed"
                assert ask(connection, WWW)[2] == b"shop 0\n", "the connection goes on"
            certbot.run("revoke", "--cert-name", WWW, "--reason", "superseded", "--no-delete-after-revoke")
            with edge.visit(DOOR) as connection:
                status, _, body = ask(connection, DOOR, "/revoked.crl")
            crl = x509.load_der_x509_crl(body)
            assert status == 200
            assert crl.is_signature_valid(server.issuer.key.public_key())
            assert [entry.serial_number for entry in crl] == [second.serial_number]
