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


@pytest.fixture(scope="session")
def shared(base: Image) -> Iterator[Ground]:
    """Where the snapshot is that all restored guests come from."""
    made = Ground(base)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def ground(base: Image, shared: Ground) -> Iterator[Ground]:
    """Where a module's sandboxes are."""
    made = Ground(base, shared)
    yield made
    made.remove()
