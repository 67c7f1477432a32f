"""What the audit log refuses."""

from __future__ import annotations

from ringfort.errors import RingfortError


class AuditError(RingfortError):
    """Something about the audit log that can't be done or isn't as it has to be; nothing was half done."""
