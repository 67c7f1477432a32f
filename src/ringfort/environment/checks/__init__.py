"""What is refused although every part of it is well formed: contradictions, and what would not be defended."""

from __future__ import annotations

from ringfort.environment.checks.control import check_control
from ringfort.environment.checks.floating import check_floating
from ringfort.environment.checks.flows import check_flows
from ringfort.environment.checks.gateway import check_gateway
from ringfort.environment.checks.instances import check_instances
from ringfort.environment.checks.names import check_names
from ringfort.environment.checks.networks import check_networks
from ringfort.environment.checks.published import check_published
from ringfort.environment.draft import Draft


def check(draft: Draft) -> None:
    """Add every contradiction of a resolved draft to its problems."""
    check_networks(draft)
    check_names(draft)
    check_flows(draft)
    check_published(draft)
    check_control(draft)
    check_gateway(draft)
    check_floating(draft)
    check_instances(draft)


__all__ = ["check"]
