"""Customers' own commands, typed in a lab's internet: what they order passes the door like anybody's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from ringfort.errors import RingfortError
from ringfort.kernel import netns
from ringfort.lab.customers import Customer, door
from ringfort.lab.plane import Plane
from ringfort.lab.processes import RINGFORT
from ringfort.lab.shapes import VISITOR, namespace_name

SECONDS = 300.0


def ordered(
    plane: Plane, customer: Customer, words: Sequence[str], seconds: float = SECONDS
) -> subprocess.CompletedProcess[str]:
    """One command of ``ringfort``, as the customer types it in the internet; whatever comes of it.

    Raises:
        RingfortError: it takes longer than that.
    """
    told = {
        "RINGFORT_CONTROLLER": door(plane),
        "RINGFORT_CERTIFICATE": str(customer.certificate),
        "RINGFORT_BUNDLE": plane.bundle,
    }
    with netns.inside(namespace_name(plane.environment, VISITOR)):
        try:
            return subprocess.run(
                [*RINGFORT, *words], capture_output=True, text=True, timeout=seconds, check=False,
                env={**os.environ, **told}, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            what = f"ringfort {' '.join(words)} of {customer.name} takes longer than {seconds:.0f} s"
            raise RingfortError("order-too-slow", what, "see the controller's log") from error
