"""The one tree of errors a user may see.

Every error carries a stable code, what happened, where, and what to do next. The private cause travels as the
exception's ``__cause__``, so that it reaches a log and never a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass


class RingfortError(Exception):
    """Something a user can act on; the command line prints it without a traceback.

    Args:
        code: stable, lower-case, hyphenated; what scripts and documentation refer to.
        message: what is wrong, with the offending value.
        hint: what to do next; empty when there is nothing to add.
    """

    exit_code = 2

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a thing stands in a file. Lines and columns start at 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a declaration: where, what, the offending text, and what to do."""

    code: str
    origin: Origin
    message: str
    excerpt: str = ""
    hint: str = ""


class DeclarationError(RingfortError):
    """A declaration is refused. All its problems at once, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        count = len(problems)
        super().__init__("declaration-refused", f"{count} problem{'s' if count != 1 else ''} found")
        self.problems = problems
