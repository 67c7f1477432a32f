"""What goes wrong with images and sandboxes."""

from __future__ import annotations

from ringfort.errors import RingfortError


class ImageError(RingfortError):
    """The base image can't be built, or is not what it says it is."""


class SandboxError(RingfortError):
    """A sandbox can't be started, doesn't answer, or does what it may not."""
