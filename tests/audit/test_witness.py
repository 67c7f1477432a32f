"""A witness over HTTP: every answer of C2SP tlog-witness, and what it remembers."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ringfort.audit.checkpoint import Checkpoint, cosigned_by, parse_checkpoint, sign
from ringfort.audit.errors import AuditError
from ringfort.audit.fetching import RemoteWitness, Web, WitnessConflictError
from ringfort.audit.log import Log
from ringfort.audit.notes import Note, SignerKey, parse_signatures
from ringfort.audit.publisher import Publisher
from ringfort.audit.reading import MissingFileError
from ringfort.audit.tree import EMPTY_ROOT, consistency_proof, leaf_hash, node_hash, root
from ringfort.audit.verify import verify
from ringfort.audit.witness import Witness, application, serving
from ringfort.audit.witnessing import Refusal, write_request
from tests.audit import logs
from tests.audit.logs import LOG_KEY, NOON, ORIGIN, POLICY, SOUTH_KEY, bodies

LEAVES = [leaf_hash(b"%d" % number) for number in range(16)]


def hashes(height: int, index: int) -> bytes:
    return LEAVES[index] if not height else node_hash(hashes(height - 1, 2 * index), hashes(height - 1, 2 * index + 1))


def note(size: int, root_hash: bytes | None = None, key: SignerKey = LOG_KEY, origin: str = ORIGIN) -> Note:
    return sign(Checkpoint(origin, size, root_hash or root(size, hashes)), key).note


def ask(witness: Witness, old: int, size: int) -> Refusal | str:
    return witness.add_checkpoint(write_request(old, consistency_proof(old, size, hashes), note(size)), NOON)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness", SOUTH_KEY, [LOG_KEY.public()])


def status(answer: Refusal | str) -> int:
    return answer.status if isinstance(answer, Refusal) else 200


def test_it_cosigns_what_continues(witness: Witness) -> None:
    for old, size in ((0, 3), (3, 3), (3, 8), (8, 13)):
        answer = ask(witness, old, size)
        assert isinstance(answer, str)
        signed = note(size).with_signatures(parse_signatures(answer.encode()))
        assert cosigned_by(signed, SOUTH_KEY.public()) == NOON


def test_every_refusal_of_the_specification(witness: Witness) -> None:
    assert status(ask(witness, 0, 5)) == 200
    proof = consistency_proof(5, 9, hashes)
    other = SignerKey(ORIGIN, 1, b"x" * 32)
    cases = {
        "unknown origin": (404, write_request(5, proof, note(9, key=LOG_KEY, origin="elsewhere"))),
        "unknown key": (403, write_request(5, proof, note(9, key=other))),
        "false signature": (403, write_request(5, proof, Note(note(9).text, note(8).signatures))),
        "old size above the checkpoint's": (400, write_request(10, [], note(9))),
        "another old size": (409, write_request(4, consistency_proof(4, 9, hashes), note(9))),
        "no proof": (422, write_request(5, [], note(9))),
        "wrong proof": (422, write_request(5, [bytes(32), *proof[1:]], note(9))),
        "another root of the same size": (422, write_request(5, [], note(5, bytes(32)))),
        "no request": (400, b"hello"),
        "leading zero": (400, write_request(5, proof, note(9)).replace(b"old 5", b"old 05")),
        "too many lines": (400, write_request(5, [bytes(32)] * 64, note(9))),
        "too long": (400, b"x" * 70_000),
    }
    for name, (expected, body) in cases.items():
        assert status(witness.add_checkpoint(body, NOON)) == expected, name
    conflict = witness.add_checkpoint(write_request(4, consistency_proof(4, 9, hashes), note(9)), NOON)
    assert isinstance(conflict, Refusal)
    assert (conflict.text, conflict.content_type) == ("5\n", "text/x.tlog.size")
    assert status(ask(witness, 5, 9)) == 200, "nothing of this was remembered"


def test_an_empty_log_has_the_empty_root_and_a_proof_from_nothing_is_empty(witness: Witness) -> None:
    assert status(witness.add_checkpoint(write_request(0, [], note(0, bytes(32))), NOON)) == 422
    assert status(witness.add_checkpoint(write_request(0, [bytes(32)], note(3)), NOON)) == 422
    assert status(witness.add_checkpoint(write_request(0, [], note(0, EMPTY_ROOT)), NOON)) == 200


def test_it_remembers_across_restarts(witness: Witness, tmp_path: Path) -> None:
    assert status(ask(witness, 0, 5)) == 200
    again = Witness(tmp_path / "witness", SOUTH_KEY, [LOG_KEY.public()])
    assert status(ask(again, 0, 3)) == 409
    assert status(ask(again, 5, 6)) == 200


def test_a_fork_is_not_cosigned_and_kept_as_evidence(witness: Witness) -> None:
    ask(witness, 0, 5)
    fork = note(5, b"f" * 32)
    answer = witness.add_checkpoint(write_request(5, [], fork), NOON)
    assert isinstance(answer, Refusal)
    assert answer.fork is not None
    (kept,) = witness.forks()
    cosigned = parse_checkpoint(witness.latest(hashlib.sha256(ORIGIN.encode()).hexdigest()) or b"")
    assert kept.note == fork
    assert (kept.checkpoint.size, kept.checkpoint.root) != (cosigned.checkpoint.size, cosigned.checkpoint.root)
    for _ in range(3):
        witness.add_checkpoint(write_request(5, [], fork), NOON)
    assert len(witness.forks()) == 1


def test_of_two_histories_at_once_one_is_cosigned(witness: Witness) -> None:
    """The check and the memory are one step, for threads and for processes."""
    requests = [write_request(0, [], note(5, bytes([number]) * 32)) for number in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: witness.add_checkpoint(body, NOON), requests))
    assert sorted(map(status, answers)) == [200, *[409] * 7]


@pytest.fixture
def url(witness: Witness) -> Iterator[str]:
    """The witness, served on a port of this machine."""
    ready = threading.Event()
    found: list[int] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with serving(application(witness, lambda: NOON), "127.0.0.1", 0, None) as port:
            found.append(port)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield f"http://127.0.0.1:{found[0]}"
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


def test_a_log_is_cosigned_over_http(url: str, tmp_path: Path) -> None:
    remote = RemoteWitness(SOUTH_KEY.public(), url)
    with Log.create(tmp_path / "log", ORIGIN) as log:
        publisher = Publisher(log, LOG_KEY, [remote])
        for start in (0, 300):
            log.append(bodies(start, start + 300))
            signed = publisher.publish()
    remote.close()
    assert signed is not None
    web = Web(url)
    latest = parse_checkpoint(web.read(f"{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint", 10_000))
    assert latest.checkpoint == signed.checkpoint
    assert POLICY.accept(latest).witnesses == {"south": NOON}
    with pytest.raises(MissingFileError):
        web.read("00" * 32 + "/checkpoint", 10_000)
    web.close()


def test_another_size_is_told_in_its_own_type(url: str) -> None:
    remote = RemoteWitness(SOUTH_KEY.public(), url)
    remote.cosign(0, [], note(5))
    with pytest.raises(WitnessConflictError) as caught:
        remote.cosign(3, consistency_proof(3, 9, hashes), note(9))
    assert caught.value.size == 5
    remote.close()


def test_a_cosignature_of_somebody_else_is_not_taken(url: str) -> None:
    remote = RemoteWitness(logs.WEST_KEY.public(), url)
    with pytest.raises(AuditError, match="without a cosignature of"):
        remote.cosign(0, [], note(5))
    remote.close()


def test_a_large_body_is_refused_unread(url: str) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/add-checkpoint")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    connection.send(b"x" * 100_000)
    assert connection.getresponse().status == 413
    connection.close()


def test_nobody_there_is_told(tmp_path: Path) -> None:
    remote = RemoteWitness(SOUTH_KEY.public(), "http://127.0.0.1:1")
    with pytest.raises(AuditError, match="can't be reached"):
        remote.cosign(0, [], note(5))
    with pytest.raises(AuditError, match="is no URL of http or https"):
        RemoteWitness(SOUTH_KEY.public(), "file:///etc")


def test_a_log_is_verified_over_http(tmp_path: Path) -> None:
    """Static files, served by anybody: here by Python's own server."""
    import functools
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its name
            pass

    place = logs.make(tmp_path, 300, 700)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(place / "public")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    web = Web(f"http://127.0.0.1:{server.server_address[1]}")
    try:
        assert verify(web, POLICY).intact
        leaves = logs.served(place, 700)
        logs.serve_instead(place, 700, [*leaves[:10], *leaves[11:]])
        assert [(it.kind, it.index) for it in verify(web, POLICY).findings] == [("removed", 10)]
    finally:
        web.close()
        server.shutdown()
        server.server_close()
        thread.join()
