"""Call a lab's services from any place in it: one honest call over TCP, TLS, UDP or ICMP echo, and what came of it."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from ringfort.control import proxied
from ringfort.environment.model import Environment, Protocol, Tls
from ringfort.environment.topology import Device
from ringfort.lab import authority

if TYPE_CHECKING:
    from ringfort.lab.lab import Lab

TIMEOUT_SECONDS = 2.0
_ECHO_REQUEST = {4: (8, 0), 6: (128, 129)}  # RFC 792; RFC 4443, section 4: request and (IPv6) reply


class Outcome(StrEnum):
    """``admitted``: the service answered. ``refused``: something answered, but not the service. ``silent``: nothing."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call. ``detail`` is the service's first line, or why there was none; ``identity`` the SPIFFE name
    that the service proved under TLS."""

    outcome: Outcome
    detail: str = ""
    identity: str = ""


def opening(environment: Environment, service: str) -> bytes:
    """What a caller has to say first: nothing to most services; controllers and witnesses speak HTTP, and so does the
    gateway, which answers for no name that nobody has."""
    control, gateway = environment.control, environment.gateway
    if gateway is not None and service == gateway.service:
        return _hello()
    if gateway is not None and service == gateway.plain and service:
        return b"GET / HTTP/1.1\r\nHost: nobody.invalid\r\nConnection: close\r\n\r\n"
    if control is not None and service == control.door and service:
        return _hello()
    if control is not None and service == control.customers and service:
        return proxied.header("192.0.2.1", "192.0.2.2") + _hello()  # as the door hands it on
    if control is not None and service == control.controller:
        return b"GET /v1/environment HTTP/1.1\r\nHost: controller\r\nConnection: close\r\n\r\n"
    if control is not None and service == control.witness:
        return b"POST /add-checkpoint HTTP/1.1\r\nHost: witness\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return b""


def _hello() -> bytes:
    """How a customer begins a TLS 1.3 connection with a controller; whoever is there answers it."""
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version, made.check_hostname = ssl.TLSVersion.TLSv1_3, False
    made.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(ssl.SSLWantReadError):
        made.wrap_bio(coming, going).do_handshake()
    return going.read()


def admits(line: str) -> bool:
    """Whether a service's first line hears the caller out. HTTP refuses a caller with 401 or 403 (RFC 9110, 15.5)."""
    return bool(line) and not line.startswith(("HTTP/1.1 401", "HTTP/1.1 403"))


def context(keys: Path, holder: str = "") -> ssl.SSLContext:
    """A caller's TLS context: trusts the lab's authority, and shows the certificate of ``holder`` if there is one.

    Args:
        keys: `Lab.keys`.
        holder: `authority.host_holder` or `authority.service_holder`.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False  # the name is a SPIFFE identity; `call` reports it
    made.load_verify_locations(keys / authority.ROOT_FILE)
    if holder:
        made.load_cert_chain(authority.key_file(keys, holder))
    return made


def call(
    lab: Lab,
    place: Device | str,
    address: str,
    port: int,
    *,
    protocol: Protocol = Protocol.TCP,
    tls: Tls = Tls.NONE,
    holder: str = "",
    source: str = "",
    keys: Path | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Answer:
    """Call once from inside a place and say what came of it.

    Args:
        place: a device, or ``visitor`` or ``attacker``.
        holder: whose key to show when ``tls`` is mutual; nobody's when empty.
        source: the address to call from; the kernel's choice when empty.
        keys: where the holder's key and the trusted authority are; the lab's own directory when None.
        timeout_seconds: for each of connecting, the handshake and the answer.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind, number = _KINDS[protocol]
    if protocol is Protocol.ICMP and family == socket.AF_INET6:
        number = socket.IPPROTO_ICMPV6
    with lab.inside(place):
        connection = socket.socket(family, kind, number)
    with connection:
        connection.settimeout(timeout_seconds)
        try:
            if source:
                connection.bind((source, 0))
            connection.connect((address, port))
            if protocol is Protocol.TCP:
                words = opening(lab.environment, _service_at(lab.environment, address, port))
                return _converse(connection, keys or lab.keys, tls, holder, words)
            return _exchange(connection, protocol)
        except TimeoutError:
            return Answer(Outcome.SILENT)
        except (ssl.SSLError, OSError) as error:
            return Answer(Outcome.REFUSED, str(error))


_KINDS = {
    Protocol.TCP: (socket.SOCK_STREAM, 0),
    Protocol.UDP: (socket.SOCK_DGRAM, 0),
    Protocol.ICMP: (socket.SOCK_RAW, socket.IPPROTO_ICMP),
}


def _service_at(environment: Environment, address: str, port: int) -> str:
    """The service at an address and port, of a host inside or published; "" if there is none."""
    for one in environment.published:
        if str(one.address) == address and one.port == port:
            return one.service
    for host in environment.hosts.values():
        if address in map(str, host.addresses):
            for name in host.services:
                if any(ports.first <= port <= ports.last for ports in environment.services[name].ports):
                    return name
    return ""


def _converse(connection: socket.socket, keys: Path, tls: Tls, holder: str, words: bytes) -> Answer:
    if tls is Tls.NONE:
        connection.sendall(words)
        return _first_line(connection, "")
    with context(keys, holder).wrap_socket(connection) as secured:
        if words:
            secured.sendall(words)
        return _first_line(secured, _identity(secured.getpeercert(binary_form=True) or b""))


def _first_line(connection: socket.socket, identity: str) -> Answer:
    line = connection.recv(4096).decode(errors="replace").strip().partition("\r\n")[0]
    return Answer(Outcome.ADMITTED if admits(line) else Outcome.REFUSED, line or "closed", identity)


def _identity(certificate: bytes) -> str:
    extensions = x509.load_der_x509_certificate(certificate).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return " ".join(names.get_values_for_type(x509.UniformResourceIdentifier))


def _exchange(connection: socket.socket, protocol: Protocol) -> Answer:
    if protocol is Protocol.UDP:
        connection.send(b"hello\n")
        return _first_line(connection, "")
    version = 6 if connection.family == socket.AF_INET6 else 4
    request, reply = _ECHO_REQUEST[version]
    identifier = os.getpid() & 0xFFFF
    connection.send(echo_request(request, identifier))
    while True:
        packet = connection.recv(4096)
        message = packet if version == 6 else packet[(packet[0] & 0xF) * 4 :]
        if message[0] == reply and struct.unpack_from("!H", message, 4)[0] == identifier:
            return Answer(Outcome.ADMITTED, "echo reply")


def echo_request(kind: int, identifier: int, sequence: int = 1) -> bytes:
    """An ICMP echo request (RFC 792) with its checksum; for ICMPv6 the kernel computes its own (RFC 3542, 3.1)."""
    body = b"ringfort"
    words = struct.unpack(f"!{(8 + len(body)) // 2}H", struct.pack("!BBHHH", kind, 0, 0, identifier, sequence) + body)
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHHH", kind, 0, ~total & 0xFFFF, identifier, sequence) + body
