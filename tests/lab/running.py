"""A lab that runs for the tests of one file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ringfort.lab.lab import Lab
from tests.lab import worlds


@contextmanager
def running(directory: Path, text: str, name: str) -> Iterator[Lab]:
    """The environment ``text``, up for the length of the block."""
    with Lab(worlds.environment(directory, text, name)) as made:
        try:
            made.up()
            yield made
        finally:
            made.down()


def mended(lab: Lab) -> Iterator[Lab]:
    """What a fixture yields from: the lab, mended afterwards whatever the test did to it."""
    yield lab
    lab.up()
    lab.reset()
