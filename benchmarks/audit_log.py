"""The audit log: durable records a second against a bare loop, verification of a million records, proofs.

Promised: at least 5,000 acknowledged durable records/s with 64 concurrent writers and at least half of what a bare loop
of append + fdatasync of the same groups reaches; p99 under 50 ms; `verify` of 1,000,000 records under 20 s on two
cores; an inclusion proof in under 1 ms. Measured is the disk that holds ``--directory`` (default: the current one).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ringfort.audit.authentic import AuthenticLog
from ringfort.audit.committing import Committer, ThreadCommitter
from ringfort.audit.fetching import WitnessConflictError
from ringfort.audit.log import Log
from ringfort.audit.notes import COSIGNATURE, ED25519, Note, Signature, SignerKey, VerifierKey, parse_signatures
from ringfort.audit.policy import parse_policy
from ringfort.audit.publisher import Publisher
from ringfort.audit.reading import Directory
from ringfort.audit.records import Action, Record, State
from ringfort.audit.tree import included, leaf_hash
from ringfort.audit.verify import verify
from ringfort.audit.witness import Witness
from ringfort.audit.witnessing import Refusal, write_request

WRITERS = 64
SECONDS = 5.0
ROUNDS = 3
LEAST_A_SECOND = 5_000
LEAST_OF_BARE = 0.5
LONGEST_P99 = 0.050
MILLION = 1_000_000
LONGEST_VERIFY = 20.0
LONGEST_PROOF = 0.001
ORIGIN = "benchmark.example/audit"
LOG_KEY = SignerKey(ORIGIN, ED25519, b"L" * 32)
WITNESS_KEY = SignerKey("benchmark.example/witness", COSIGNATURE, b"W" * 32)
START = datetime(2026, 1, 1, tzinfo=UTC)


def body(number: int) -> bytes:
    """A record of ordinary size: a change of a customer's quota."""
    return Record(
        when=START + timedelta(milliseconds=number),
        who=f"spiffe://benchmark.example/operator/{number % 50}",
        authenticated="mutual-tls",
        action=Action("control", "customer", "change"),
        on=f"customer/c{number % 1000}",
        before=State({"quota": number, "state": "active"}),
        after=State({"quota": number + 1, "state": "active"}),
        why=f"ticket T-{number}",
        origin="10.10.6.10",
    ).body()


class Noted(Log):
    """A log that notes the size in bytes of each group."""

    def __init__(self, directory: str | Path) -> None:
        super().__init__(directory)
        self.groups: list[int] = []

    def append_groups(
        self, groups: Sequence[Sequence[bytes]], meanwhile: Callable[[], None] | None = None
    ) -> list[range]:
        """As `Log`'s, with a note."""
        before = self._journal.position.offset
        places = super().append_groups(groups, meanwhile)
        self.groups.append(self._journal.position.offset - before)
        return places


def ready_bodies() -> list[bytes]:
    """Bodies to choose from; making them is the caller's work, not the log's."""
    return [body(number) for number in range(4096)]


async def by_tasks(log: Log, bodies: Sequence[bytes]) -> list[float]:
    """Latencies of appends by 64 tasks, each waiting for its record before the next."""
    latencies: list[float] = []
    end = time.perf_counter() + SECONDS

    async def writer(number: int, committer: Committer) -> None:
        place = number
        while (start := time.perf_counter()) < end:
            place = (place + WRITERS) % len(bodies)
            await committer.append((bodies[place],))
            latencies.append(time.perf_counter() - start)

    async with Committer(log) as committer:
        await asyncio.gather(*(writer(number, committer) for number in range(WRITERS)))
    return latencies


def by_threads(log: Log, bodies: Sequence[bytes]) -> list[float]:
    """The same by 64 threads."""
    latencies: list[float] = []
    committer = ThreadCommitter(log)
    ready = threading.Barrier(WRITERS)

    def writer(number: int) -> None:
        place = number
        ready.wait()
        end = time.perf_counter() + SECONDS
        while (start := time.perf_counter()) < end:
            place = (place + WRITERS) % len(bodies)
            committer.append((bodies[place],))
            latencies.append(time.perf_counter() - start)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(writer, range(WRITERS)))
    return latencies


def bare(directory: Path, groups: Sequence[int]) -> float:
    """Seconds that a loop of append and fdatasync takes for groups of these sizes."""
    block = os.urandom(max(groups))
    file = os.open(directory / "bare", os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC, 0o600)
    try:
        start = time.perf_counter()
        for size in groups:
            os.write(file, block[:size])
            os.fdatasync(file)
        return time.perf_counter() - start
    finally:
        os.close(file)
        (directory / "bare").unlink()


def appending(directory: Path) -> bool:
    """Measure appends; whether all promises are kept."""
    bodies = ready_bodies()
    kept = True
    print(f"{WRITERS} writers, bodies of {len(bodies[0])} bytes, {SECONDS:.0f} s each; bare: the same groups, next")
    for name in ("tasks", "threads"):
        rows = []
        for number in range(ROUNDS):
            Log.create(directory / f"{name}-{number}", ORIGIN).close()
            with Noted(directory / f"{name}-{number}") as log:
                start = time.perf_counter()
                latencies = asyncio.run(by_tasks(log, bodies)) if name == "tasks" else by_threads(log, bodies)
                taken = time.perf_counter() - start
                assert log.size == len(latencies)
                rows.append((len(latencies) / taken, bare(directory, log.groups) / taken, latencies, log.groups))
        rate = statistics.median(row[0] for row in rows)
        ratio = statistics.median(row[1] for row in rows)
        latencies = sorted(latency for row in rows for latency in row[2])
        p99 = latencies[len(latencies) * 99 // 100]
        group = len(latencies) / sum(len(row[3]) for row in rows)
        ratios = ", ".join(f"{row[1]:.2f}" for row in rows)
        print(
            f"  {name}: {rate:,.0f} records/s, {ratio:.2f} of the bare loop ({ratios}), {group:.0f} to a group, "
            f"median {latencies[len(latencies) // 2] * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms"
        )
        if name == "tasks":
            kept = rate >= LEAST_A_SECOND and ratio >= LEAST_OF_BARE and p99 <= LONGEST_P99
    return kept


class LocalWitness:
    """A witness without a network."""

    def __init__(self, directory: Path) -> None:
        self._witness = Witness(directory, WITNESS_KEY, [LOG_KEY.public()])

    @property
    def key(self) -> VerifierKey:
        """The cosigner's key."""
        return WITNESS_KEY.public()

    def cosign(self, old: int, proof: Sequence[bytes], note: Note) -> Signature:
        """Cosign, or say why not."""
        answer = self._witness.add_checkpoint(write_request(old, proof, note), datetime.now(UTC))
        if isinstance(answer, Refusal):
            assert answer.status == 409, answer
            raise WitnessConflictError(WITNESS_KEY.name, int(answer.text))
        return parse_signatures(answer.encode())[0]


def proving(directory: Path, size: int) -> bool:
    """Measure publication, verification and proofs of a log of ``size`` records; whether the promises are kept."""
    place = directory / "large"
    model = body(0)
    with Log.create(place, ORIGIN) as log:
        publisher = Publisher(log, LOG_KEY, [LocalWitness(directory / "witness")])
        start, publishing = time.perf_counter(), 0.0
        for first in range(0, size, 100_000):
            # Of one record with other tickets: making a million records is not what is measured.
            tickets = range(first, min(first + 100_000, size))
            log.append([model.replace(b"T-0", b"T-%d" % number) for number in tickets])
            begun = time.perf_counter()
            publisher.publish()
            publishing += time.perf_counter() - begun
        print(f"{size:,} records: made and appended in {time.perf_counter() - start - publishing:.1f} s, ", end="")
        print(f"tiles and checkpoints written in {publishing:.1f} s")
    policy = parse_policy(f"log {LOG_KEY.public()}\nwitness w {WITNESS_KEY.public()}\nquorum w\n".encode())
    files = Directory(place)
    begun = time.perf_counter()
    verdict = verify(files, policy, processes=2)
    taken = time.perf_counter() - begun
    assert verdict.intact
    print(f"  verify: {taken:.1f} s with two processes, load {os.getloadavg()[0]:.1f}; ", end="", flush=True)
    begun = time.process_time()
    assert verify(files, policy).intact
    print(f"with one, {time.process_time() - begun:.1f} s of processor time")
    durations = []
    log_read = AuthenticLog(files, verdict.accepted.checkpoint)
    for number in range(2000):
        index = number * 7919 % size
        if number % 100 == 0:
            log_read = AuthenticLog(files, verdict.accepted.checkpoint)
        begun = time.perf_counter()
        proof = log_read.inclusion(index)
        durations.append(time.perf_counter() - begun)
        assert number % 50 or included(
            index, size, leaf_hash(log_read.leaf(index)), proof, verdict.accepted.checkpoint.root
        )
    median, p99 = statistics.median(durations), sorted(durations)[len(durations) * 99 // 100]
    print(f"  inclusion proof: median {median * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms, tiles read from their files")
    return taken <= LONGEST_VERIFY and median <= LONGEST_PROOF


def main() -> None:
    """Measure; the exit code is 1 when a promise isn't kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", default=".", help="where to write: the disk that is measured")
    parser.add_argument("--records", type=int, default=MILLION)
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=arguments.directory, prefix=".audit-") as name:
        kept = [appending(Path(name)), proving(Path(name), arguments.records)]
    if not all(kept):
        sys.exit("a promise of the audit log was not kept in this run")


if __name__ == "__main__":
    main()
