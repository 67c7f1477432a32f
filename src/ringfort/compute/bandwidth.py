"""What an instance may send and receive in a second, kept outside of its guest: on its tap.

What it is sent waits in a token bucket (tc-tbf(8)) and is dropped when that is full. What it sends over its rate is
dropped by a rule before anything else of the machine looks at it: an attacker who floods spends processor time that is
counted as his own, and fills nobody's queue.
"""

from __future__ import annotations

from ringfort.errors import RingfortError
from ringfort.kernel.netns import inside

BURST_SECONDS = 0.05
LEAST_BURST_BYTES = 65_536
"""A burst has to hold the largest packet that segmentation offload makes."""

WAIT_MILLISECONDS = 100
"""How long what a guest is sent may wait at most."""


def burst(mbit: int) -> int:
    """Bytes that may come at once."""
    return max(LEAST_BURST_BYTES, round(mbit * 125_000 * BURST_SECONDS))


def rule(tap: str, mbit: int) -> str:
    """The rule of nft that drops what a guest sends over its rate; it belongs in front of all others, at prerouting.

    Args:
        mbit: Mbit/s, as `app.yaml` says.
    """
    return f'iifname "{tap}" limit rate over {mbit * 125} kbytes/second burst {burst(mbit)} bytes counter drop'


def shape(namespace: str, tap: str, mbit: int) -> None:
    """Bound what the guest on a tap is sent.

    Raises:
        RingfortError: the kernel refuses.
    """
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with inside(namespace):
        connection = IPRoute()
    try:
        (index,) = connection.link_lookup(ifname=tap)
        connection.tc("replace", "tbf", index, rate=f"{mbit}mbit", burst=burst(mbit), latency=f"{WAIT_MILLISECONDS}ms")
    except (NetlinkError, ValueError) as error:
        raise RingfortError("kernel-refused", f"{tap} in {namespace} can't be bounded: {error}") from error
    finally:
        connection.close()
