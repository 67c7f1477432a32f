"""The customers' side of TLS: trust exactly the certificates that customers registered.

Python's ssl module verifies client certificates against authorities only. So each registered certificate is made a
trust anchor of its own, a chain may end there (X509_V_FLAG_PARTIAL_CHAIN), and after the handshake the certificate
itself is compared, byte for byte: what a registered certificate signed is not trusted.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from ringfort.identity.tls import Tls


class CustomerContext:
    """A server's context whose trusted certificates are exchanged while it listens.

    Args:
        credential: the file with the controller's own key and chain.
    """

    def __init__(self, credential: Path) -> None:
        self._credential = credential
        self._trusted: tuple[bytes, ...] = ()
        self.server = self._made()
        """For a listening socket: the same object for good."""
        self.server.sni_callback = self._take_current
        self._current = self._made()

    def trust(self, certificates: Iterable[bytes]) -> None:
        """Trust these (DER) from the next handshake on, and no others."""
        self._trusted = tuple(sorted(certificates))
        self._current = self._made()

    def renew(self) -> None:
        """Show what the file holds now from the next handshake on."""
        self._current = self._made()

    def _take_current(self, connection: Tls, name: str | None, context: ssl.SSLContext) -> None:
        # OpenSSL asks this in each handshake, with or without a server name; the store that it verifies against is the
        # new context's.
        connection.context = self._current

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        context.load_cert_chain(self._credential)
        if self._trusted:
            context.load_verify_locations(cadata=b"".join(self._trusted))
        return context
