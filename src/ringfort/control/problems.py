"""Problem documents (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import ValidationError

from ringfort.control.errors import TYPES, ProblemError
from ringfort.control.models import Fault, Problem
from ringfort.errors import DeclarationError, RingfortError

MEDIA_TYPE = "application/problem+json"
MOST_FAULTS = 20


class InvalidError(ProblemError):
    """A body or a query is not what the operation takes; every fault with its place, and nothing of the input."""

    def __init__(self, error: ValidationError, what: str) -> None:
        super().__init__(422, "invalid", f"the {what} is not what this call takes", "see /v1/openapi.json")
        details = error.errors(include_url=False, include_input=False, include_context=False)
        self.faults = [
            Fault(pointer="".join(f"/{step}" for step in fault["loc"])[:300], detail=fault["msg"][:300])
            for fault in details[:MOST_FAULTS]
        ]


class RefusedSoftwareError(ProblemError):
    """Software that was sent is refused, with the reason's own code; faults of app.yaml with their places."""

    def __init__(self, error: RingfortError) -> None:
        super().__init__(422, error.code, error.message, error.hint)
        found = error.problems if isinstance(error, DeclarationError) else ()
        self.faults = [
            Fault(pointer=str(one.origin)[:300], detail=f"{one.message} [{one.code}]"[:300])
            for one in found[:MOST_FAULTS]
        ]


def problem(error: ProblemError) -> Problem:
    """A refusal as a document."""
    return Problem(
        type=TYPES + error.code,
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.message,
        hint=error.hint,
        faults=error.faults if isinstance(error, InvalidError | RefusedSoftwareError) else [],
    )


def problem_bytes(error: ProblemError) -> bytes:
    """A refusal as it is sent."""
    return problem(error).model_dump_json(exclude_defaults=True).encode()
