"""Asks a controller or a witness that runs whom it hears: real handshakes that it has to refuse.

Told from a configuration, a check is only what somebody wanted. So each address is called twice, from the service's own
host: without a certificate, and with one that is good in everything but its role.
"""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ringfort.environment.identity import IdentityCheck
from ringfort.environment.model import Address, Tls
from ringfort.errors import RingfortError
from ringfort.identity import tls
from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import new_key
from ringfort.identity.credential import Credential
from ringfort.identity.names import Identity, Role
from ringfort.identity.verification import exactly
from ringfort.kernel import netns
from ringfort.lab.authority import Authority

NAME = "ringfort-probe"
"""Who probes: no service of that name is declared, and what it is refused for counts as nobody's attempt."""

SECONDS = 2.0
REFUSALS = frozenset({0, 401, 403, 429, 500, 503})
"""Statuses of answers to somebody who wasn't heard: refused, or nobody is heard at present; 0 is no answer."""

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Target:
    """A process that checks callers itself: where it is, who it has to be, and a call of it that needs a role."""

    place: str
    addresses: tuple[Address, ...]
    port: int
    identity: str
    call: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """What a process did: whether it answers at all, and whether it heard a caller that it has to refuse."""

    answers: bool = False
    anyone: bool = False
    wrong_role: bool = False


def enforced(check: IdentityCheck, heard: Heard, trust_domain: str) -> IdentityCheck | None:
    """What is left of a check, by what the process did; None when there is no process."""
    if not heard.answers:
        return None
    if heard.anyone:
        return replace(check, tls=Tls.SERVER, callers=frozenset())
    if heard.wrong_role:
        return replace(check, callers=check.callers | {Identity(trust_domain, Role.SERVICE, NAME).uri})
    return check


def ask(authority: Authority, targets: list[Target]) -> list[Heard]:
    """Call all of them, side by side."""
    calls = [(number, address) for number, target in enumerate(targets) for address in target.addresses]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda call: _heard(authority, targets[call[0]], call[1]), calls))
    found = []
    for number in range(len(targets)):
        own = [answer for (asked, _), answer in zip(calls, answers, strict=True) if asked == number]
        answering = [answer for answer in own if answer.answers]
        anyone = any(answer.anyone for answer in answering)
        wrong_role = any(answer.wrong_role for answer in answering)
        found.append(Heard(len(answering) == len(own) > 0, anyone, wrong_role))
    return found


def _heard(authority: Authority, target: Target, address: Address) -> Heard:
    bundle = authority.bundle
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    wrong = tls.client_context(_credential(authority, address), bundle)
    try:
        status = _status(target, address, wrong, bundle)
        return Heard(True, _status(target, address, plain, None) != 0, status not in REFUSALS)
    except ConnectionError:
        return Heard()
    except TimeoutError:
        return Heard()
    except RingfortError:  # somebody else is there
        return Heard(True, anyone=True)


def _credential(authority: Authority, address: Address) -> Credential:
    key, issuer = new_key(), authority.issuer_for([address])
    who = Identity(issuer.trust_domain, Role.SERVICE, NAME)
    return Credential(key, (issuer.issue(who, [address], key.public_key(), datetime.now(UTC)), issuer.certificate))


def _status(target: Target, address: Address, context: ssl.SSLContext, bundle: Bundle | None) -> int:
    """The status of the answer to a call; 0 when the handshake or the connection ends without one.

    Raises:
        ConnectionError, TimeoutError: nobody listens, or answers.
        RingfortError: somebody else does.
    """
    with netns.inside(target.place):
        opened = socket.create_connection((str(address), target.port), SECONDS)
    with opened:
        try:
            with context.wrap_socket(opened) as connection:
                if bundle is not None:
                    tls.peer(connection, address, bundle, datetime.now(UTC), expected=exactly([target.identity]))
                connection.sendall(target.call)
                words = connection.recv(200).split()
        except TimeoutError:
            raise
        except OSError:  # of TLS, or the connection was ended
            return 0
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else 0
