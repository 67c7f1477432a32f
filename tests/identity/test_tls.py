"""Platform parts speak TLS 1.3 with certificates, and refuse everything else: tried over real connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

import pytest

from ringfort.identity import token
from ringfort.identity.authority import LONGEST_LIFETIME
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import authority_id
from ringfort.identity.credential import Credential
from ringfort.identity.errors import IdentityRefused, Refusal
from ringfort.identity.names import Role
from ringfort.identity.peers import Peer
from ringfort.identity.revocation import Revocations, revoked
from ringfort.identity.tls import Party, client_context, peer
from ringfort.identity.verification import exactly, roles
from tests.identity.parties import Authority, make
from tests.identity.wire import PATIENCE, Server, call, now, serving

HERE = ("127.0.0.1",)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make(now=now() - timedelta(days=3))


@pytest.fixture
def server(authority: Authority) -> Iterator[Server]:
    with serving(Server(Party(holder(authority, Role.CONTROLLER, "north"), authority.bundle))) as server:
        yield server


def holder(authority: Authority, role: Role = Role.NODE, name: str = "web-1") -> Credential:
    return authority.credential(role, name, HERE, now())


def caller(authority: Authority, credential: Credential) -> ssl.SSLContext:
    return client_context(credential, authority.bundle)


def test_both_sides_prove_who_they_are(authority: Authority, server: Server) -> None:
    context = caller(authority, holder(authority))
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as raw, context.wrap_socket(raw) as connection:
        reached = peer(connection, "127.0.0.1", authority.bundle, now(), expected=roles(Role.CONTROLLER))
        assert connection.recv(100) == b"hello"
        assert connection.version() == "TLSv1.3"
        cipher = connection.cipher()
        assert cipher is not None
        assert cipher[2] >= 128
    assert str(reached.identity) == "spiffe://shop.example/controller/north"
    found = server.outcome()
    assert isinstance(found, Peer)
    assert str(found.identity) == "spiffe://shop.example/node/web-1"


@pytest.mark.parametrize("words", [b"GET /v1/environment HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 64, b"hello there\n"])
def test_plaintext_is_refused(server: Server, words: bytes) -> None:
    assert b"hello" not in call(server, None, say=words)
    assert server.outcome() in {Refusal.PLAINTEXT, Refusal.MALFORMED}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_older_versions_of_tls_are_refused(authority: Authority, server: Server, version: ssl.TLSVersion) -> None:
    context = caller(authority, holder(authority))
    context.set_ciphers("ALL:@SECLEVEL=0")  # else OpenSSL would not even send the old versions' hello
    context.minimum_version = version
    context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", server.port), PATIENCE) as raw,
        pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"),  # before anything else was said
    ):
        context.wrap_socket(raw)
    assert server.outcome() is Refusal.OLD_TLS


def test_a_key_exchange_of_less_than_128_bits_is_refused(authority: Authority, server: Server) -> None:
    context = caller(authority, holder(authority))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.set_ecdh_curve("ffdhe2048")
    assert call(server, context) == b""
    assert not isinstance(server.outcome(), Peer)
    context.set_ecdh_curve("ffdhe3072")
    assert call(server, context) == b"hello", "it is the strength that was refused"


def test_a_caller_without_a_certificate_is_refused(authority: Authority, server: Server) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=authority.bundle.roots_pem().decode())
    assert call(server, context) == b""
    assert server.outcome() is Refusal.NO_CERTIFICATE


def test_another_authoritys_certificate_is_refused_though_it_says_the_same(
    authority: Authority, server: Server
) -> None:
    impostor = make(now=now() - timedelta(days=3))
    assert call(server, caller(authority, holder(impostor))) == b""
    assert server.outcome() is Refusal.OTHER_AUTHORITY


def test_an_expired_certificate_is_refused(authority: Authority, server: Server) -> None:
    old = authority.credential(Role.NODE, "web-1", HERE, now() - timedelta(hours=2), timedelta(hours=1))
    assert call(server, caller(authority, old)) == b""
    assert server.outcome() is Refusal.EXPIRED


def test_a_certificate_of_tomorrow_is_refused(authority: Authority, server: Server) -> None:
    early = authority.credential(Role.NODE, "web-1", HERE, now() + timedelta(hours=1))
    assert call(server, caller(authority, early)) == b""
    assert server.outcome() is Refusal.NOT_YET_VALID


def test_a_revoked_certificate_is_refused(authority: Authority, server: Server) -> None:
    mine = holder(authority)
    server.revoked = Revocations.known([], _lists(authority), now() + timedelta(hours=1))
    assert call(server, caller(authority, mine)) == b"hello"
    assert isinstance(server.outcome(), Peer)
    entry = revoked(mine.leaf, now())
    server.revoked = Revocations.known([entry], _lists(authority), now() + timedelta(hours=1))
    assert call(server, caller(authority, mine)) == b""
    assert server.outcome() is Refusal.REVOKED
    assert call(server, caller(authority, holder(authority))) == b"hello", "another certificate of the same name"


def _lists(authority: Authority) -> list[str]:
    return [authority_id(authority.north.certificate)]


def test_a_wrong_role_is_refused(authority: Authority, server: Server) -> None:
    server.expected = roles(Role.NODE)
    assert call(server, caller(authority, holder(authority, Role.SERVICE, "web"))) == b""
    assert server.outcome() is Refusal.WRONG_ROLE
    server.expected = exactly({"spiffe://shop.example/service/web"})
    assert call(server, caller(authority, holder(authority, Role.SERVICE, "app"))) == b""
    assert server.outcome() is Refusal.WRONG_ROLE


def test_a_token_of_enrolment_is_not_a_node(authority: Authority, server: Server) -> None:
    server.expected = roles(Role.NODE)
    made = token.issue(authority.north, "web-1", [ip_address("127.0.0.1")], authority.bundle, now())
    taken = token.read(token.write(made))
    assert call(server, caller(authority, taken.credential)) == b""
    assert server.outcome() is Refusal.WRONG_ROLE


def test_a_stolen_service_certificate_is_refused_at_another_address(authority: Authority, server: Server) -> None:
    stolen = authority.credential(Role.SERVICE, "web", ["127.0.0.2"], now())
    assert call(server, caller(authority, stolen), source="127.0.0.1") == b""
    assert server.outcome() is Refusal.WRONG_ADDRESS
    assert call(server, caller(authority, stolen), source="127.0.0.2") == b"hello", "its own address"


def test_an_issuing_authority_cannot_speak_for_itself(authority: Authority, server: Server) -> None:
    own = Credential(authority.north.key, (authority.north.certificate,))
    assert call(server, caller(authority, own)) == b""
    assert server.outcome() is Refusal.KEY_USAGE, "OpenSSL's own word for it"


def test_a_leaf_cannot_issue(authority: Authority, server: Server) -> None:
    node = holder(authority)
    forger = replace(authority.north, key=node.key)
    forged = authority.credential(Role.CONTROLLER, "north", HERE, now(), issuer=forger)
    chained = Credential(forged.key, (forged.leaf, node.leaf, authority.north.certificate))
    assert call(server, caller(authority, chained)) == b""
    assert server.outcome() is Refusal.OTHER_AUTHORITY


def test_a_server_is_held_to_the_same(authority: Authority) -> None:
    """What a caller refuses: a server of another role, at an address that is not its own."""
    with serving(Server(Party(holder(authority, Role.SERVICE, "web"), authority.bundle))) as server:
        with pytest.raises(IdentityRefused) as role:
            _reach(authority, server, "127.0.0.1", Role.CONTROLLER)
        with pytest.raises(IdentityRefused) as place:
            _reach(authority, server, "10.10.0.1", Role.SERVICE)
    assert role.value.refusal is Refusal.WRONG_ROLE
    assert place.value.refusal is Refusal.WRONG_ADDRESS


def _reach(authority: Authority, server: Server, address: str, role: Role) -> None:
    context = caller(authority, holder(authority))
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as raw, context.wrap_socket(raw) as connection:
        peer(connection, address, authority.bundle, now(), expected=roles(role))


def test_an_impostor_of_a_server_is_refused_by_the_caller(authority: Authority) -> None:
    impostor = make(now=now() - timedelta(days=3))
    party = Party(impostor.credential(Role.CONTROLLER, "north", HERE, now()), authority.bundle)
    with serving(Server(party)) as server:
        context = caller(authority, holder(authority))
        with (
            socket.create_connection(("127.0.0.1", server.port), PATIENCE) as raw,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(raw)


def test_renewal_drops_no_connection_and_reaches_the_next_one(authority: Authority) -> None:
    first = authority.credential(Role.CONTROLLER, "north", HERE, now(), timedelta(hours=1))
    second = authority.credential(Role.CONTROLLER, "north", HERE, now(), LONGEST_LIFETIME)
    party = Party(first, authority.bundle)

    def echo(connection: ssl.SSLSocket, _: Peer) -> None:
        while data := connection.recv(100):
            connection.sendall(data)

    with serving(Server(party, serve=echo)) as server:
        standing = _open(authority, server)
        assert _shown(standing) == first.leaf.serial_number
        assert _say(standing) == b"before"
        party.renew(second)
        assert _say(standing) == b"before", "the connection that stood"
        standing.close()
        again = _open(authority, server)
        assert _shown(again) == second.leaf.serial_number
        again.close()


def _open(authority: Authority, server: Server) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    return caller(authority, holder(authority)).wrap_socket(raw)


def _say(connection: ssl.SSLSocket) -> bytes:
    connection.sendall(b"before")
    return connection.recv(100)


def _shown(connection: ssl.SSLSocket) -> int:
    certificate = connection.getpeercert()
    assert certificate is not None
    return int(str(certificate["serialNumber"]), 16)


def test_a_connection_is_never_resumed(authority: Authority, server: Server) -> None:
    context = caller(authority, holder(authority))
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as raw, context.wrap_socket(raw) as connection:
        assert connection.recv(100) == b"hello"
        assert connection.session is None or not connection.session.has_ticket


def test_a_new_root_is_taken_in_before_the_old_one_goes(authority: Authority) -> None:
    """Both in the bundle for a while, then the new one alone: callers of either are accepted while both are there."""
    new = make(now=now() - timedelta(days=1))
    both = Bundle.of([*authority.bundle.roots, *authority.bundle.issuers, *new.bundle.roots, *new.bundle.issuers])
    party = Party(holder(authority, Role.CONTROLLER, "north"), authority.bundle)
    with serving(Server(party)) as server:
        old_caller, new_caller = client_context(holder(authority), both), client_context(holder(new), both)
        assert call(server, new_caller) == b""
        assert server.outcome() is Refusal.OTHER_AUTHORITY
        party.renew(bundle=both)
        for context in (old_caller, new_caller):
            assert call(server, context) == b"hello"
            assert isinstance(server.outcome(), Peer)
        party.renew(holder(new, Role.CONTROLLER, "north"), new.bundle)
        assert call(server, new_caller) == b"hello"
        assert isinstance(server.outcome(), Peer)
        assert call(server, old_caller) == b""
        assert server.outcome() is Refusal.OTHER_AUTHORITY


def test_an_issuing_authority_that_left_the_bundle_speaks_for_nobody(authority: Authority, server: Server) -> None:
    south = authority.credential(Role.NODE, "x", ["10.20.1.2"], now(), issuer=authority.south)
    kept = [one for one in authority.bundle.issuers if one != authority.south.certificate]
    server.party.renew(bundle=Bundle.of([*authority.bundle.roots, *kept]))
    assert call(server, caller(authority, south)) == b""
    assert server.outcome() is Refusal.OTHER_AUTHORITY


def test_asyncio_servers_renew_without_dropping_a_connection(authority: Authority) -> None:
    """As controllers and nodes serve: one listening socket for good, and half the callers stay on the line."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = peer(
            writer.get_extra_info("ssl_object"),
            writer.get_extra_info("peername")[0],
            authority.bundle,
            now(),
            expected=roles(Role.NODE),
        )
        while line := await reader.readline():
            writer.write(str(found.identity).encode() + b" said " + line)
        writer.close()
        await writer.wait_closed()

    async def say(line: tuple[asyncio.StreamReader, asyncio.StreamWriter], text: bytes) -> bytes:
        line[1].write(text)
        return await asyncio.wait_for(line[0].readline(), PATIENCE)

    async def play() -> None:
        first, second = (holder(authority, Role.CONTROLLER, "north") for _ in range(2))
        party, mine = Party(first, authority.bundle), Party(holder(authority), authority.bundle)
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=party.server)
        port = server.sockets[0].getsockname()[1]

        async def open_line() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection("127.0.0.1", port, ssl=mine.client)

        async with server:
            lines = [await open_line() for _ in range(10)]
            party.renew(second)
            mine.renew(holder(authority))
            lines += [await open_line() for _ in range(10)]
            for line in lines:
                assert await say(line, b"hello\n") == b"spiffe://shop.example/node/web-1 said hello\n"
            shown = [_serial(line[1].get_extra_info("ssl_object")) for line in lines]
            assert shown == [first.leaf.serial_number] * 10 + [second.leaf.serial_number] * 10
            for _, writer in lines:
                writer.close()
                await writer.wait_closed()

    asyncio.run(play())


def _serial(connection: ssl.SSLObject) -> int:
    certificate = connection.getpeercert()
    assert certificate is not None
    return int(str(certificate["serialNumber"]), 16)


def test_nobody_is_turned_away_while_credentials_change(authority: Authority) -> None:
    """Handshakes meet renewals at every moment: each shows one whole credential."""
    credentials = [holder(authority, Role.CONTROLLER, "north") for _ in range(5)]
    party, mine = Party(credentials[0], authority.bundle), caller(authority, holder(authority))
    answers: list[bytes] = []
    with serving(Server(party)) as server:
        calling = threading.Thread(target=lambda: answers.extend(call(server, mine) for _ in range(60)))
        calling.start()
        renewals = 0
        while calling.is_alive():
            renewals += 1
            party.renew(credentials[renewals % 5])
        calling.join()
    assert answers == [b"hello"] * 60
    assert renewals > 5
