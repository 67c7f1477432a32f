"""What an approver's tool checks before it signs: that a proposal is what it would have proposed itself."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from tuf.api.metadata import Metadata, Targets

from ringfort.publishing.errors import PublishingError
from ringfort.publishing.metadata import TARGETS_LIFE, environment_target, next_targets, renewed_targets
from ringfort.publishing.proposal import Record, to_custom

MOST_AHEAD = timedelta(days=1)
"""How far the proposer's clock may be ahead."""


def is_renewal(proposed: Targets, old: Targets | None) -> bool:
    """Whether it is the environment in force, to be signed anew."""
    return old is not None and environment_target(proposed).hashes == environment_target(old).hashes


def review_text(proposed: Targets, text: bytes) -> None:
    """Hold the proposal against a text that the approver trusts.

    Raises:
        PublishingError: the proposal is about another environment.
    """
    file = environment_target(proposed)
    if file.hashes["sha256"] != hashlib.sha256(text).hexdigest() or file.length != len(text):
        message = f"what waits as version {proposed.version} is not the environment you gave"
        raise PublishingError("pending-other", message, "bring your copy up to date, or ask who proposed it")


def review(proposed: Metadata[Targets], old: Targets | None, text: bytes, record: Record | None, now: datetime) -> None:
    """Hold every word of the proposal against one made from ``text`` and ``record`` here and now.

    Args:
        record: as computed from the two environments; None where `is_renewal`.

    Raises:
        PublishingError: it says anything else.
    """
    signed = proposed.signed
    review_text(signed, text)
    if not now < signed.expires <= now + TARGETS_LIFE + MOST_AHEAD:
        message = f"version {signed.version} would expire on {signed.expires:%Y-%m-%d}"
        raise PublishingError("pending-other", message, "propose it again")
    if record is None:
        assert old is not None
        own = renewed_targets(old, now)
    else:
        own = next_targets(old, text, to_custom(record), now)
    own.signed.expires, own.signed.spec_version = signed.expires, signed.spec_version
    if own.signed.to_dict() != signed.to_dict():
        if own.signed.version != signed.version:
            message = f"version {signed.version} waits, but version {own.signed.version} is next"
            raise PublishingError("pending-outdated", message, "propose it again")
        message = "what would be signed along with it is not what follows from the environment"
        raise PublishingError("pending-other", message, "propose it again, with the same version of Ringfort")
