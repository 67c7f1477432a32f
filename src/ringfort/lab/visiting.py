"""Visitors of a lab's applications: HTTPS from the lab's internet, one request or many, and what came of them."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ringfort.environment.model import Address
from ringfort.kernel import netns

SECONDS = 5.0
LARGEST = 1 << 20
AFTER_FAILURE_SECONDS = 0.1
"""How long a visitor in haste waits after a failure."""
ERRORS = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a public name is visited from a namespace: one address and port of the gateway, and whom to trust."""

    namespace: str
    name: str
    address: Address
    port: int
    roots: str

    def context(self) -> ssl.SSLContext:
        """What a careful visitor's TLS asks for: the name, under a root that it knows."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.load_verify_locations(cadata=self.roots)
        return made

    def connect(self, context: ssl.SSLContext, seconds: float = SECONDS) -> http.client.HTTPConnection:
        """A connection, its handshake done.

        Raises:
            OSError: nobody is there, or not who should be.
        """
        family = socket.AF_INET6 if self.address.version == 6 else socket.AF_INET
        with netns.inside(self.namespace):
            plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(seconds)
            plain.connect((str(self.address), self.port))
            secured = context.wrap_socket(plain, server_hostname=self.name)
        except BaseException:
            plain.close()
            raise
        connection = http.client.HTTPConnection(self.name, timeout=seconds)
        connection.sock = secured
        return connection


def fetch(site: Site, path: str = "/", seconds: float = SECONDS) -> tuple[int, str]:
    """Status and body of one page.

    Raises:
        OSError: nobody answers, or not who should.
    """
    connection = site.connect(site.context(), seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(LARGEST).decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def answers(site: Site, until: float) -> bool:
    """Wait for a page with status 200; whether it came before the monotonic clock said ``until``."""
    while True:
        try:
            if fetch(site)[0] == 200:
                return True
        except OSError:
            pass
        if time.monotonic() > until:
            return False
        time.sleep(0.1)


@dataclass(slots=True)
class Load:
    """What came of the requests of many visitors.

    Attributes:
        requests: that were begun; ``failed``: those without an answer with status 200, and why, by reason.
        slowest: seconds.
    """

    requests: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    seconds: float = 0.0

    @property
    def failures(self) -> int:
        """How many failed."""
        return sum(self.failed.values())


class _Visitor(threading.Thread):
    """Asks again and again, on one connection for as long as the gateway lets it."""

    def __init__(self, site: Site, pause: float, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._site, self._pause, self._stop_it = site, pause, stop
        self._context = site.context()
        self._connection: http.client.HTTPConnection | None = None
        self.load = Load()

    def run(self) -> None:
        while not self._stop_it.is_set():
            begin = time.monotonic()
            reason = self._ask()
            self.load.requests += 1
            self.load.slowest = max(self.load.slowest, time.monotonic() - begin)
            if reason:
                self.load.failed[reason] = self.load.failed.get(reason, 0) + 1
            self._stop_it.wait(self._pause or (AFTER_FAILURE_SECONDS if reason else 0.0))
        self._close()

    def _ask(self) -> str:
        """Why a request failed; "" when it didn't."""
        try:
            if self._connection is None:
                self._connection = self._site.connect(self._context)
            self._connection.request("GET", "/")
            answer = self._connection.getresponse()
            answer.read()
            if answer.will_close:
                self._close()
        except ERRORS as error:
            self._close()
            return str(error) or type(error).__name__
        return "" if answer.status == 200 else f"status {answer.status}"

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def visited(sites: tuple[Site, ...], visitors: int, pause: float) -> Iterator[Load]:
    """Have visitors ask while the block runs; afterwards the load says what came of it.

    Args:
        visitors: how many; they take turns with the sites.
        pause: of each visitor between two requests, in seconds.
    """
    stop, load, begin = threading.Event(), Load(), time.monotonic()
    threads = [_Visitor(sites[number % len(sites)], pause, stop) for number in range(visitors)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        load.seconds = time.monotonic() - begin
        for one in (thread.load for thread in threads):
            load.requests += one.requests
            load.slowest = max(load.slowest, one.slowest)
            for reason, count in one.failed.items():
                load.failed[reason] = load.failed.get(reason, 0) + count
