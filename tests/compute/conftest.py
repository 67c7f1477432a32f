"""The base image is built once and kept; each module with real guests has a ground of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ringfort.compute import image
from ringfort.compute.image import Image
from tests.compute.guests import Ground


@pytest.fixture(scope="session")
def base() -> Image:
    """The image of this version."""
    return image.ensure()


@pytest.fixture(scope="module")
def ground(base: Image) -> Iterator[Ground]:
    """Where a module's sandboxes are."""
    made = Ground(base)
    yield made
    made.remove()
