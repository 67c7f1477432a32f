"""Scan detection and connection limits: the only rules whose outcome depends on what happened before.

Both can only refuse. Their sets are bounded: a full set remembers nobody new, and such a source is judged by the flows
alone, as it would be without detection.
"""

from __future__ import annotations

from ringfort.environment.model import ConnectionLimit, ScanDetection
from ringfort.network import nft, reasons
from ringfort.network.families import Family
from ringfort.network.table import TableBuilder

REMEMBERED_SOURCES = 65535
"""Sources of one address family that each dynamic set holds; about 200 bytes each in the kernel."""


def refuse_scanners(table: TableBuilder, chain: str, family: Family, detection: ScanDetection) -> None:
    """Refuse new connections of sources that were refused too often."""
    source = nft.payload(family.header, "saddr")
    name = table.set(
        family.named("scanners"),
        (family.address_type,),
        comment=f"sources refused more than {detection.attempts} times in {detection.seconds} s",
        flags=("timeout",),
        size=REMEMBERED_SOURCES,
        timeout=detection.refuse_seconds,
    )
    table.rule(chain, nft.match(source, name), table.refuse(reasons.SCANNER))
    table.set(
        family.named("attempts"),
        (family.address_type,),
        comment=f"sources refused within the last {detection.seconds} s",
        flags=("timeout",),
        size=REMEMBERED_SOURCES,
        timeout=detection.seconds,
    )


def remember_refusals(table: TableBuilder, chain: str, family: Family, detection: ScanDetection) -> None:
    """Count a refusal against its source; at one too many the source becomes a scanner.

    An element of ``attempts`` lives for the declared seconds from the first refusal (``add`` does not renew it) and
    carries a bucket of ``attempts`` tokens that is all but never refilled: so it counts refusals in a fixed window.
    """
    source = nft.payload(family.header, "saddr")
    too_many = nft.rate_over(1, "day", detection.attempts)
    table.rule(
        chain,
        nft.remember(source, family.named("attempts"), too_many),
        nft.remember(source, family.named("scanners")),
        table.refuse(reasons.SCANNER),
    )


def limit_connections(table: TableBuilder, chain: str, family: Family, limit: ConnectionLimit) -> None:
    """Refuse a new connection of a source that holds too many."""
    source = nft.payload(family.header, "saddr")
    table.set(
        family.named("connections"),
        (family.address_type,),
        comment=f"connections of each source, {limit.per_source} at most",
        size=REMEMBERED_SOURCES,
    )
    over = nft.remember(source, family.named("connections"), nft.connections_over(limit.per_source))
    table.rule(chain, over, table.refuse(reasons.CONNECTION_LIMIT))
