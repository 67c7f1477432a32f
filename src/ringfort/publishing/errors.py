"""What approvers and whoever publishes are told."""

from __future__ import annotations

from ringfort.errors import RingfortError


class PublishingError(RingfortError):
    """A key, a proposal or a repository that is not what it should be, or a step that may not be taken."""
