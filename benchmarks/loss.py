"""How long an application is away when the node that runs its only instance is killed.

    python -m benchmarks.loss [--rounds 3]

The lab of `benchmarks.deploy`, with one instance and places free on the other hypervisor, whose node has made its
snapshot. The node's process is killed, and with it the virtual machine; visitors ask until there is an answer again.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import time

import click

from benchmarks.deploy import NAME, Ground, await_template, load_average, standing
from ringfort.control.silence import LOST_SECONDS
from ringfort.lab import processes, visiting

PROMISED = 10.0
"""Seconds, from when the loss is noticed until the instance is well elsewhere."""

LONGEST = 120.0


def node_of(ground: Ground) -> str:
    """The node that runs the only instance."""
    (one,) = json.loads(ground.say("application", "show", NAME, "--format", "json"))["instances"]
    return str(one["node"])


def away() -> float:
    """Seconds from the end of a node until the first answer from elsewhere."""
    with standing(1) as ground:
        ground.first_answer()
        ground.settled()
        await_template()
        node = node_of(ground)
        process = processes.running(ground.plane, node)
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        killed = time.monotonic()
        while visiting.answers(ground.site, 0.0):
            time.sleep(0.1)
        if not visiting.answers(ground.site, killed + LONGEST):
            raise RuntimeError(f"no answer within {LONGEST:.0f} s")
        seconds = time.monotonic() - killed
        assert node_of(ground) != node
    print(f"away for {seconds:.1f} s; {load_average()}", flush=True)
    return seconds


@click.command()
@click.option("--rounds", default=3, show_default=True)
def main(rounds: int) -> None:
    """Measure, print, and fail when it takes longer than promised."""
    found = statistics.median(away() for _ in range(rounds))
    print(f"median {found:.1f} s, of which {LOST_SECONDS:g} s until the loss is noticed")
    if found > LOST_SECONDS + 1 + PROMISED:
        sys.exit("slower than promised")


if __name__ == "__main__":
    main()
