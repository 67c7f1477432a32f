"""A resolved environment as canonical JSON and back: what approvers sign, what nodes read.

One environment has one text, and one text is one environment: names are sorted, nothing stands between them, what need
not be escaped is not (RFC 8785), and whatever is written otherwise is refused. The sections are lists, because their
order means something: addresses on the backbone follow the order of the sites.

Reading checks shapes, and what later steps take for granted (`ringfort.environment.soundness`). It does not judge what
is declared: the loader did that before anybody signed.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from ringfort.environment.codecs import WrongFormError, codec_of
from ringfort.environment.model import Control, Environment
from ringfort.environment.soundness import fault
from ringfort.errors import RingfortError

FORM = "ringfort-environment-1"
"""What the text says of itself; a text in another form is refused, not guessed at."""

_CODEC = codec_of(Environment)
_CONTROL = codec_of(Control | None)
_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), sort_keys=True
).encode


class SerialisedError(RingfortError):
    """A text that is no environment, or an environment that has no text."""


def to_bytes(environment: Environment) -> bytes:
    """The environment's one text. Equal environments have equal texts, whatever they were loaded from.

    Raises:
        SerialisedError: a text in it holds half of a surrogate pair, which has no UTF-8 form.
    """
    document = {"form": FORM, **_CODEC.write(environment)}
    try:
        return _encode(document).encode()
    except UnicodeEncodeError as error:
        raise SerialisedError("environment-text", "the environment holds a character that has no UTF-8 form") from error


def from_bytes(text: bytes) -> Environment:
    """The environment whose text this is.

    Raises:
        SerialisedError: ``environment-text`` if it is not canonical JSON, ``environment-form`` if it is of another
            form, ``environment-value`` with the place if something is missing, unknown, of another kind, or leads
            nowhere.
    """
    document = _document(text)
    form = document.pop("form", None)
    if form != FORM:
        _refuse(
            "environment-form", f"this is no environment of the form {FORM}", "use the version of Ringfort it is for"
        )
    try:
        environment: Environment = _CODEC.read(document, {})
    except WrongFormError as error:
        _refuse("environment-value", str(error))
    odd = fault(environment)
    if odd:
        _refuse("environment-value", odd)
    return environment


def control_in(text: bytes) -> Control | None:
    """The control plane alone, of a text that `from_bytes` has read before: the rest of it may be large.

    Raises:
        SerialisedError: it is no such text.
    """
    try:
        control: Control | None = _CONTROL.read(json.loads(text)["control"], {})
    except (WrongFormError, ValueError, KeyError, TypeError) as error:
        raise SerialisedError("environment-text", "this is no environment") from error
    return control


def _refuse(code: str, message: str, hint: str = "") -> NoReturn:
    raise SerialisedError(code, message, hint)


def _constant(word: str) -> NoReturn:
    raise ValueError(word)


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text.decode(), parse_constant=_constant)
        same = _encode(document).encode() == text
    except (ValueError, RecursionError) as error:
        raise SerialisedError("environment-text", "this is not JSON") from error
    if not same:
        _refuse("environment-text", "this is JSON, but not in canonical form")
    if not isinstance(document, dict):
        _refuse("environment-form", "this is JSON, but no mapping")
    return document
