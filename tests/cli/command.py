"""Running ``ringfort`` inside the test's process: what it prints and its exit code."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import NamedTuple
from unittest import mock

from ringfort.cli.main import main


class Ran(NamedTuple):
    """What a run gave."""

    code: int
    out: str
    err: str


def run(*words: object) -> Ran:
    """Run ``ringfort`` with these words, as a shell would."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["ringfort", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else 1
    return Ran(code, out.getvalue(), err.getvalue())
