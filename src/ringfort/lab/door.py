"""A lab's door for customers: HAProxy on an edge host that hands on, unread, what the internet sends.

Outside is the customers' own TLS, whose other end is the controller; around it, on the way from here to there, mutual
TLS of the platform: nobody inside who isn't the door reaches the place where customers are heard. Between the two
stands where they come from (PROXY protocol, version 2). HAProxy would put it before its own TLS, in clear; so a
connection goes through it twice.
"""

from __future__ import annotations

import hashlib

from ringfort.gateway import process
from ringfort.lab import authority, processes, state
from ringfort.lab.plane import Plane, literal

NAME = "door"


def hosts(plane: Plane) -> tuple[str, ...]:
    """Where there is a door."""
    return plane.environment.services[plane.control.door].hosts if plane.control.door else ()


def name(host: str) -> str:
    """Of a host's process."""
    return f"{NAME}-{host}"


def start(plane: Plane) -> None:
    """Start those that don't run with what is due."""
    for host in hosts(plane):
        text, file = _configuration(plane, host), plane.directory / f"{name(host)}.cfg"
        same = file.exists() and file.read_text() == text
        if processes.running(plane, name(host)) is not None and same:
            continue
        processes.end_one(plane, name(host))
        state.write_private(file, text.encode())
        processes.start(plane, name(host), host, ["-db", "-f", str(file)], program=[process.PROGRAM])


def _configuration(plane: Plane, host: str) -> str:
    own = plane.environment.hosts[host].addresses
    port = plane.environment.services[plane.control.door].ports[0].first
    there = plane.serving(plane.control.customers)[1]
    key = authority.key_file(plane.keys, authority.service_holder(plane.control.door, host))
    inside = plane.directory / f"{name(host)}.sock"
    tls = f"ssl crt {key} ca-file {plane.keys / authority.ROOT_FILE} verify required ssl-min-ver TLSv1.3 no-ssl-reuse"
    lines = [
        f"# {hashlib.sha256(key.read_bytes()).hexdigest()}  the certificate; another one takes a new start",
        "global",
        "    maxconn 500",
        "    ssl-default-server-ciphers DEFAULT:@SECLEVEL=3",
        "defaults",
        "    mode tcp",
        "    timeout connect 3s",
        "    timeout client 60s",
        "    timeout server 60s",
        "frontend door",
        *(f"    bind {literal(address)}:{port} transparent" for address in own),
        "    default_backend inside",
        "backend inside",
        f"    server inside unix@{inside} send-proxy-v2",
        "frontend inside  # what it says stands before the caller's TLS, inside our own",
        f"    bind unix@{inside} mode 600",
        "    default_backend controllers",
        "backend controllers",
        *(
            f"    server ipv{address.version} {literal(address)}:{there} {tls}{' backup' if number else ''}"
            for number, address in enumerate(plane.addresses(plane.control.customers))
            if address.version in {one.version for one in own}
        ),
    ]
    return "\n".join(lines) + "\n"
