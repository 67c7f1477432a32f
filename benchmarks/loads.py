"""What is sent through a router to measure it. Every load returns a capacity: more is better."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from benchmarks.frames import Batch, send_all
from benchmarks.namespaces import inside, processor_nanoseconds, settle
from benchmarks.router_bed import Bed
from benchmarks.synthetic import CLIENTS, DATAGRAM_PORT, SERVERS, STREAM_PORT

FRAMES = 10_000
CONNECTIONS = 1_000
NEW_FOR_EACH_CLIENT = 20
"""Connections that each client begins: to count them costs the more the more it has (see docs/benchmarks.md)."""

SOCKET_DATAGRAMS = 50_000
EXCHANGES = 10_000
TCP_CONNECTIONS = 2_000
SECONDS = 0.5
PATIENCE_SECONDS = 2.0
"""How long the router may take for what was sent; a busy machine takes its time."""

PAYLOAD_BYTES = 18
CHUNK_BYTES = 1 << 20
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
RECEIVE_BUFFER_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of traffic, and how a person reads its capacity."""

    name: str
    measure: Callable[[Bed, np.random.Generator], float]
    shown: Callable[[float], str]


def request_and_answer(bed: Bed, _random: np.random.Generator) -> float:
    """Exchanges of a small datagram and its answer for each second of processor time, over ordinary sockets.

    One thread plays both programs, so that no time goes into waking the other one.
    """
    with _datagram_sockets(bed) as (client, server):
        data, spent = bytes(PAYLOAD_BYTES), time.thread_time_ns()
        for _ in range(EXCHANGES):
            client.send(data)
            _, sender = server.recvfrom(PAYLOAD_BYTES)
            server.sendto(data, sender)
            client.recv(PAYLOAD_BYTES)
        return EXCHANGES * 1e9 / (time.thread_time_ns() - spent)


def one_way(bed: Bed, _random: np.random.Generator) -> float:
    """Small datagrams a second of the sending program's processor time, which carries them to the server's socket."""
    batch = Batch(np.zeros((SOCKET_DATAGRAMS, PAYLOAD_BYTES), np.uint8))
    with _datagram_sockets(bed) as (client, _server):
        before, spent = bed.delivered(), time.thread_time_ns()
        send_all(client, batch)
        spent = time.thread_time_ns() - spent
        return _delivered(bed, before, SOCKET_DATAGRAMS) * 1e9 / spent


@contextmanager
def _datagram_sockets(bed: Bed) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connected pair of sockets, on an established connection through the router."""
    bed.measure_datagrams(on=False)
    bed.forget()
    address = (str(bed.hosts(SERVERS)[-1].addresses[0]), DATAGRAM_PORT)
    with inside(bed.server):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside(bed.client):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, client:
        server.bind(address)
        server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        client.connect(address)
        client.settimeout(2)
        client.send(b"?")
        _, sender = server.recvfrom(1)
        server.sendto(b"!", sender)
        client.recv(1)
        yield client, server


def router_established(bed: Bed, random: np.random.Generator) -> float:
    """Small datagrams of answered connections for each second of the router's own processor time."""
    traffic = bed.traffic(FRAMES, random, connections=CONNECTIONS)
    with _router_alone(bed):
        # Both directions have to be seen before the kernel calls a connection established.
        bed.send(traffic.first, bed.client)
        settle(bed.threads[CLIENTS])
        bed.send(traffic.answers, bed.server)
        settle(bed.threads[SERVERS])
        return _routed(bed, traffic.load)


def router_new(bed: Bed, random: np.random.Generator) -> float:
    """Datagrams that each begin a connection, any entry, for each second of the router's own processor time."""
    traffic = bed.traffic(NEW_FOR_EACH_CLIENT * len(bed.hosts(CLIENTS)), random)
    with _router_alone(bed):
        return _routed(bed, traffic.load)


def router_new_last(bed: Bed, random: np.random.Generator) -> float:
    """The same to the server that comes last in a list of rules."""
    traffic = bed.traffic(NEW_FOR_EACH_CLIENT * len(bed.hosts(CLIENTS)), random, last=True)
    with _router_alone(bed):
        return _routed(bed, traffic.load)


@contextmanager
def _router_alone(bed: Bed) -> Iterator[None]:
    bed.measure_datagrams(on=True)
    bed.forget()
    with bed.sink():
        yield


def _routed(bed: Bed, load: Batch) -> float:
    thread = bed.threads[CLIENTS]
    settle(thread)
    spent, before = processor_nanoseconds(thread), bed.delivered()
    bed.send(load, bed.client)
    delivered = _delivered(bed, before, load.count)
    settle(thread)
    return delivered * 1e9 / (processor_nanoseconds(thread) - spent)


def _delivered(bed: Bed, before: int, sent: int) -> int:
    """Datagrams that were really routed; a ruleset that refuses what it should let through is no result."""
    patience = time.monotonic() + PATIENCE_SECONDS
    while (delivered := bed.delivered() - before) < sent and time.monotonic() < patience:
        time.sleep(0.002)
    if delivered < 0.99 * sent:
        raise RuntimeError(f"{bed.name}: only {delivered} of {sent} datagrams left the router")
    return delivered


def connect_and_close(bed: Bed, _random: np.random.Generator) -> float:
    """TCP connections opened, used for one byte and closed, for each second of processor time."""
    bed.measure_datagrams(on=False)
    bed.forget()
    address = (str(bed.hosts(SERVERS)[-1].addresses[0]), STREAM_PORT)
    with inside(bed.server):
        listener = socket.create_server(address)
    with listener, inside(bed.client):
        spent = time.thread_time_ns()
        for _ in range(TCP_CONNECTIONS):
            with socket.create_connection(address) as client:
                accepted, _ = listener.accept()
                with accepted:
                    client.send(b"?")
                    accepted.recv(1)
        spent = time.thread_time_ns() - spent
    return TCP_CONNECTIONS * 1e9 / spent


def bulk_tcp(bed: Bed, _random: np.random.Generator) -> float:
    """Bytes a second through one TCP connection."""
    bed.measure_datagrams(on=False)
    address = (str(bed.hosts(SERVERS)[-1].addresses[0]), STREAM_PORT)
    with inside(bed.server):
        listener = socket.create_server(address)
    with inside(bed.client):
        client = socket.create_connection(address, timeout=5)
    accepted, _ = listener.accept()
    listener.close()
    client.settimeout(None)
    received: list[int] = []
    receiver = threading.Thread(target=_take_all, args=(accepted, received))
    receiver.start()
    started, chunk = time.perf_counter(), bytes(CHUNK_BYTES)
    while time.perf_counter() - started < SECONDS:
        client.sendall(chunk)
    client.close()
    receiver.join()
    return sum(received) / (time.perf_counter() - started)


def _take_all(accepted: socket.socket, received: list[int]) -> None:
    # MSG_TRUNC: the kernel counts the bytes and drops them, so that copying is not what is measured (tcp(7)).
    buffer = bytearray(CHUNK_BYTES)
    with accepted:
        while taken := accepted.recv_into(buffer, CHUNK_BYTES, socket.MSG_TRUNC):
            received.append(taken)


def _nanoseconds(capacity: float) -> str:
    return f"{1e9 / capacity:,.0f} ns"


def _gigabits(capacity: float) -> str:
    return f"{capacity * 8 / 1e9:.1f} Gbit/s"


LOADS = (
    Load("small, request and answer", request_and_answer, _nanoseconds),
    Load("small, one way", one_way, _nanoseconds),
    Load("bulk TCP", bulk_tcp, _gigabits),
    Load("new TCP connections", connect_and_close, _nanoseconds),
    Load("router alone, established", router_established, _nanoseconds),
    Load("router alone, new", router_new, _nanoseconds),
    Load("router alone, new, last entry", router_new_last, _nanoseconds),
)
