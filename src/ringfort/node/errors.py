"""What can go wrong between a node and its controllers."""

from __future__ import annotations

from ringfort.errors import RingfortError


class ControllerError(RingfortError):
    """No controller did what was asked. ``code`` is ``unreachable``, or the problem that a controller gave."""
