"""What the controller refuses, as problem details (RFC 9457)."""

from __future__ import annotations

from ringfort.errors import RingfortError

TYPES = "https://ringfort.invalid/problems/"
"""What a problem's type begins with; the rest is its code. A name, not a page (RFC 9457, 3.1.1)."""


class ControlError(RingfortError):
    """The controller can't be configured, started or reached."""


class ProblemError(RingfortError):
    """A call is refused; becomes a problem document.

    Args:
        status: HTTP status code.
        code: stable, lower-case, hyphenated.
        message: what is wrong.
        hint: what to do next.
        close: whether the connection can't be used any further (the rest of the body was not read).
    """

    def __init__(self, status: int, code: str, message: str, hint: str = "", *, close: bool = False) -> None:
        super().__init__(code, message, hint)
        self.status = status
        self.close = close


def not_found(what: str) -> ProblemError:
    """There is no such thing."""
    return ProblemError(404, "not-found", f"there is no {what}")


def conflict(code: str, message: str, hint: str = "") -> ProblemError:
    """The state does not allow it."""
    return ProblemError(409, code, message, hint)
