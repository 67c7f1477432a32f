"""Replies leave by the provider that the connection came in by.

A router marks a connection from the internet with its provider's number (``ct mark``) and restores it on the replies
(``meta mark``) before they are routed. Whoever configures the router adds a rule and a table for each mark, such as
``ip rule add fwmark 1 lookup 101``.
"""

from __future__ import annotations

from ringfort.environment.model import Environment


def provider_marks(environment: Environment, site: str) -> dict[str, int]:
    """Key of each provider of ``site`` -> the mark of its connections, from 1. Empty when there is but one way out."""
    providers = environment.sites[site].providers
    return {key: number for number, key in enumerate(providers, start=1)} if len(providers) > 1 else {}
