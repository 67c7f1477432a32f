"""Signed requests (RFC 8555, 6.2; RFC 7515): read strictly, then verified with the key that they have to be signed by.

Only what the protocol allows is taken: the flattened form with one signature, everything in the protected header, an
asymmetric algorithm that fits the key. The signatures and keys themselves are josepy's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy import errors
from josepy.jwa import JWASignature
from josepy.jwk import JWK, JWKEC, JWKRSA

from ringfort.gateway.acme.problems import AcmeError, Kind, malformed

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")

_PUBLIC = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}
"""Members of a public key (RFC 7638, 3.2); a private part that somebody sends along is not even looked at."""

_CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1}
_RSA = ("RS256", "PS256")
ALGORITHMS = (*_CURVES, *_RSA)

SHORTEST_RSA, LONGEST_RSA = 2_048, 8_192
"""Bits of an account's key. Ordinary clients make 2,048; it signs requests that also have to prove more than that."""


@dataclass(frozen=True, slots=True)
class Key:
    """An account's public key. ``thumbprint``: RFC 7638, in base64url; ``document``: canonical JSON."""

    jwk: JWK
    thumbprint: str
    document: str


@dataclass(frozen=True, slots=True)
class Unverified:
    """A request whose form is right; nothing in it is true before `verify`.

    Attributes:
        url: which it says it is for. ``nonce``: which it uses, "" for none.
        account: the account's URL that it says signed it, or "" where ``key`` comes along.
    """

    algorithm: str
    url: str
    nonce: str
    account: str
    key: Key | None
    payload: bytes
    signature: bytes
    signed: bytes


def decoded(text: object, what: str) -> bytes:
    """Base64url without padding, in its one spelling (RFC 7515, 2; RFC 4648, 3.5).

    Raises:
        AcmeError: it isn't.
    """
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text):
        raise malformed(f"{what} is not base64url")
    try:
        value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise malformed(f"{what} is not base64url") from error
    if encoded(value) != text:
        raise malformed(f"{what} is not spelled as base64url is")
    return value


def encoded(value: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def json_object(text: bytes, what: str) -> dict[str, object]:
    """A JSON object, no member of it twice.

    Raises:
        AcmeError: it isn't.
    """

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a member twice")
        return found

    try:
        value = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise malformed(f"{what} is not JSON, or has a member twice") from error
    if not isinstance(value, dict):
        raise malformed(f"{what} is not a JSON object")
    return value


def json_text(value: Mapping[str, object]) -> bytes:
    """A JSON object as text, for `read` to look at."""
    return json.dumps(value).encode()


def read(body: bytes) -> Unverified:
    """The form of a signed request.

    Raises:
        AcmeError: it is none.
    """
    outer = json_object(body, "the request")
    if set(outer) != {"protected", "payload", "signature"}:
        raise malformed("a request has protected, payload and signature, and nothing else (RFC 8555, 6.2)")
    header = json_object(decoded(outer["protected"], "protected"), "the protected header")
    if "crit" in header or "b64" in header:
        raise malformed("the protected header asks for something critical that is not understood")
    algorithm, url, nonce = (header.get(name, "") for name in ("alg", "url", "nonce"))
    if algorithm not in ALGORITHMS:
        problem = f"the signature's algorithm is one of {', '.join(ALGORITHMS)}"
        raise AcmeError(Kind.BAD_SIGNATURE_ALGORITHM, problem)
    if not isinstance(url, str) or not url or not isinstance(nonce, str):
        raise malformed("the protected header has a url, and a nonce that is a text")
    if ("jwk" in header) == ("kid" in header):
        raise malformed("the protected header has one of jwk and kid")
    account = header.get("kid", "")
    if not isinstance(account, str):
        raise malformed("kid is a text")
    key = read_key(header["jwk"]) if "jwk" in header else None
    signed = f"{outer['protected']}.{outer['payload']}".encode()
    payload, signature = decoded(outer["payload"], "payload"), decoded(outer["signature"], "signature")
    return Unverified(str(algorithm), url, nonce, account, key, payload, signature, signed)


def read_key(value: object) -> Key:
    """A public key that an account may have.

    Raises:
        AcmeError: it can't be read, is weak, or of another kind.
    """
    if not isinstance(value, Mapping) or value.get("kty") not in _PUBLIC:
        raise AcmeError(Kind.BAD_PUBLIC_KEY, "an account's key is P-256, P-384 or RSA")
    members = {name: value.get(name) for name in _PUBLIC[str(value["kty"])]}
    if not all(isinstance(member, str) and len(member) < LONGEST_RSA for member in members.values()):
        raise AcmeError(Kind.BAD_PUBLIC_KEY, "a part of the key is missing")
    try:
        jwk = JWK.from_json(members)
        assert isinstance(jwk, JWK)
        public = jwk.key
        if isinstance(jwk, JWKEC):
            is_good = isinstance(public.curve, tuple(_CURVES.values()))
        else:
            numbers = public.public_numbers()
            assert isinstance(numbers, rsa.RSAPublicNumbers)
            is_good = SHORTEST_RSA <= public.key_size <= LONGEST_RSA and numbers.n % 2 == 1 and numbers.e == 65537
    except (errors.Error, ValueError, TypeError, KeyError, AssertionError, UnsupportedAlgorithm) as error:
        raise AcmeError(Kind.BAD_PUBLIC_KEY, "the key can't be read") from error
    if not is_good:
        hint = f"P-256, P-384, or RSA of {SHORTEST_RSA} to {LONGEST_RSA} bits with exponent 65537"
        raise AcmeError(Kind.BAD_PUBLIC_KEY, f"an account's key is {hint}")
    document = json.dumps(jwk.to_json(), sort_keys=True, separators=(",", ":"))
    return Key(jwk, encoded(hashlib.sha256(document.encode()).digest()), document)


def verify(request: Unverified, key: Key) -> None:
    """Check that this key signed the request.

    Raises:
        AcmeError: it didn't.
    """
    public = key.jwk.key
    curve = _CURVES.get(request.algorithm)
    if curve is not None:
        fits = isinstance(key.jwk, JWKEC) and isinstance(public.curve, curve)
    else:
        fits = isinstance(key.jwk, JWKRSA)
    try:
        algorithm = JWASignature.from_json(request.algorithm)
        is_signed = fits and algorithm.verify(public, request.signed, request.signature)
    except (errors.Error, ValueError, TypeError) as error:
        raise AcmeError(Kind.MALFORMED, "the signature can't be read") from error
    if not is_signed:
        raise AcmeError(Kind.UNAUTHORIZED, "the request is not signed by that key")
