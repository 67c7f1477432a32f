"""What ten hostile guests leave of a polite neighbour's fair share, and what of the platform they reach.

One guest answers requests that cost it a fixed piece of work; ten others, each with one processor of which it may use
all, first compute like well-behaved guests, then attack, each in another way (`tests.compute.attacks.ATTACKS`), as root
in their guests and without any optional layer. Fair is what the neighbour gets beside ten that compute. The three
situations are measured in turn, so that other work on the machine falls on each. Limit: 80 % of the fair share, by the
neighbour's requests.

    .venv/bin/python -m benchmarks.hostile [--rounds 3] [--seconds 15]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from contextlib import ExitStack

import click

from benchmarks.sandbox import processor_seconds
from ringfort.compute import image
from ringfort.compute.logs import HALF, read
from ringfort.compute.sandbox import Sandbox
from tests.compute import attacks
from tests.compute.attacks import ATTACKS, HOSTILE, NEIGHBOUR, POLITE, PROGRAM, Platform
from tests.compute.guests import Ground, ended, log_of, said

SHARE = 0.8
SETTLE_SECONDS = 3.0
MEMORY = 176


class Scene:
    """A neighbour and ten others, each in a place of its own."""

    def __init__(self, ground: Ground, platform: Platform, stack: ExitStack) -> None:
        self.platform = platform
        self.guests: dict[str, Sandbox] = {}
        self.places: dict[str, str] = {}
        for name in ("neighbour", *ATTACKS):
            polite = name == "neighbour"
            self.places[name] = platform.place()
            wire = attacks.wire(self.places[name])
            code = NEIGHBOUR if polite else PROGRAM
            specification = ground.specification(name, {"main.py": code}, wire=wire, memory=MEMORY)
            self.guests[name] = stack.enter_context(ended(ground.sandbox(specification)))
            self.guests[name].start(POLITE if polite else HOSTILE, ground.template())
        for name in ATTACKS:
            said(self.guests[name], "listening")
        while self.guests["neighbour"].health(attacks.PORT):
            time.sleep(0.2)

    def measure(self, kind: str, seconds: float) -> tuple[float, float]:
        """The neighbour's requests/s, and its processor time to that of an average guest, while the others are idle,
        busy or hostile. The second doesn't depend on what else the machine does."""
        if kind != "alone":
            for name in ATTACKS:
                attacks.order(self.places[name], seconds + 2 * SETTLE_SECONDS, "busy" if kind == "fair" else name)
            time.sleep(SETTLE_SECONDS)
        feeding = attacks.feed(self.places["slow"], 50, 1 << 20) if kind == "hostile" else ExitStack()
        before, began = self.processor(), time.monotonic()
        with feeding:
            served = attacks.served(self.places["neighbour"], seconds)
        taken = time.monotonic() - began
        after = self.processor()
        used = {name: after[name] - before[name] for name in after}
        time.sleep(2 * SETTLE_SECONDS if kind != "alone" else 0)
        average = sum(used.values()) / len(used)
        return served / taken, used["neighbour"] / average if average else 0.0

    def processor(self) -> dict[str, float]:
        """Seconds of it that each guest has had so far."""
        return {name: processor_seconds(guest) for name, guest in self.guests.items()}

    def kept(self) -> dict[str, bool]:
        """What has to hold after all of it."""
        disks = [guest.specification.disk for guest in self.guests.values()]
        return {
            "nothing arrived at the platform": self.platform.arrived() == 0,
            "every attack was made": not any("FAILED" in log_of(guest) for guest in self.guests.values()),
            "no attacker reached anything": not any("REACHED" in log_of(guest) for guest in self.guests.values()),
            "logs are bounded": all(len(read(one.specification.log)) <= 2 * HALF for one in self.guests.values()),
            "disks are as large as declared": all(
                disk is not None and disk.stat().st_size == 16 << 20 for disk in disks
            ),
            "the neighbour is well": not self.guests["neighbour"].health(attacks.PORT, seconds=20),
        }


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=15.0, show_default=True)
def main(rounds: int, seconds: float) -> None:
    """Measure, print, and fail when a limit is passed."""
    ground, platform = Ground(image.ensure()), Platform(attacks.name_of("bench"))
    ratios = []
    try:
        with ExitStack() as stack:
            scene = Scene(ground, platform, stack)
            for number in range(rounds):
                found = {kind: scene.measure(kind, seconds) for kind in ("alone", "fair", "hostile")}
                ratios.append(found["hostile"][0] / found["fair"][0] if found["fair"][0] else 0.0)
                rates = ", ".join(
                    f"{kind} {rate:.1f}/s ({used:.2f} of an average)" for kind, (rate, used) in found.items()
                )
                print(f"round {number + 1}: {rates}; ratio {ratios[-1]:.2f}; load {os.getloadavg()[0]:.1f}", flush=True)
            for name in ATTACKS:
                dropped = sum(attacks.counts(scene.places[name]))
                print(f"{name}: {dropped} packets dropped at its place; {scene.guests[name].status().state}")
                print("\n".join(line for line in log_of(scene.guests[name]).splitlines() if "FAILED" in line), end="")
            kept = scene.kept()
    finally:
        platform.remove()
        ground.remove()
    for what, holds in kept.items():
        print(f"{what}: {'yes' if holds else 'NO'}")
    share = statistics.median(ratios)
    print(f"the neighbour keeps {share:.0%} of its fair share (median of {rounds})")
    if share < SHARE or not all(kept.values()):
        sys.exit("less than promised")


if __name__ == "__main__":
    main()
