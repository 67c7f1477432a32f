"""Whether a name is an account's: what the gateway answers for it (http-01; RFC 8555, 8.3).

The server connects to the gateway's declared addresses and to nothing else, whatever the name says in the DNS, and
follows no redirect: nobody can point it at anything. What the gateway sends for a name comes from the application of
the customer whose name it is, so an answer proves that this customer asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from ringfort.environment.model import Address
from ringfort.gateway.acme.problems import AcmeError, Kind

PATH = "/.well-known/acme-challenge/"
SECONDS = 5.0
LARGEST = 1_024
"""Bytes of an answer that are read; a key authorisation has 87."""

ATTEMPTS_AFTER = (0.0, 1.0, 3.0, 6.0)
"""Seconds before each attempt: an application may need a moment to put its answer in place."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the edge answers plain HTTP for every public name."""

    address: Address
    port: int = 80

    @property
    def url(self) -> str:
        """Of its root."""
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"http://{host}:{self.port}"


async def check(gateways: Sequence[Gateway], name: str, token: str, expected: str) -> None:
    """Ask the gateway until it answers as expected.

    Raises:
        AcmeError: it never did (``connection`` or ``incorrectResponse``), with the last reason.
    """
    problem = AcmeError(Kind.CONNECTION, "no gateway is known")
    for wait in ATTEMPTS_AFTER:
        await asyncio.sleep(wait)
        for gateway in gateways:
            try:
                answer = await _ask(gateway, name, token)
            except AcmeError as error:
                problem = error
                continue
            if answer.rstrip(b" \t\r\n") == expected.encode():
                return
            problem = AcmeError(Kind.INCORRECT_RESPONSE, f"{name} answers {PATH}{token} with something else")
    raise problem


async def _ask(gateway: Gateway, name: str, token: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    headers = {"Host": name, "User-Agent": "ringfort-acme", "Accept": "*/*", "Accept-Encoding": "identity"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False, auto_decompress=False) as session,
            session.get(f"{gateway.url}{PATH}{token}", headers=headers, allow_redirects=False) as response,
        ):
            if response.status != 200:
                message = f"{name} answers {PATH}{token} with status {response.status}; redirects are not followed"
                raise AcmeError(Kind.INCORRECT_RESPONSE, message)
            return await _all_of(response.content)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise AcmeError(Kind.CONNECTION, f"the gateway didn't answer for {name} within {SECONDS:g} s") from error


async def _all_of(content: aiohttp.StreamReader) -> bytes:
    try:
        await content.readexactly(LARGEST + 1)
    except asyncio.IncompleteReadError as ended:
        return ended.partial
    raise AcmeError(Kind.INCORRECT_RESPONSE, f"the answer has more than {LARGEST} bytes")
