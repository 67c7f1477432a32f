"""The fifth line of a live verdict: every device holds what was compiled for it, and nothing else.

The proof asks what the rules do and doesn't know the compiler; a rule that was added by hand and changes nothing is
invisible to it. Here the two meet, so that no change by hand stays unseen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ringfort.cli.output import itself
from ringfort.environment.model import Environment
from ringfort.environment.topology import Device
from ringfort.network.compile import compile_environment
from ringfort.network.drift import Difference, drift
from ringfort.proof.verdict import Claim, Outcome, Refutation, Verdict

CLAIM = "intact"
SHOWN = 6
"""Differences of one device that are told; of the others their number."""


def with_intact(verdict: Verdict, environment: Environment, found: Mapping[Device, Any], path: str) -> Verdict:
    """``verdict`` with the claim that the rules ``found`` on every device are those it is compiled."""
    start = time.perf_counter()
    compiled = compile_environment(environment)
    changed = {device: drift(compiled[device].document, found[device]) for device in compiled}
    refutations = tuple(_refutations(changed, path))
    claim = Claim(
        CLAIM,
        "every device holds the rules that this declaration compiles to, and no others",
        Outcome.REFUTED if refutations else Outcome.PROVED,
        len(changed),
        "devices",
        len(refutations),
        time.perf_counter() - start,
    )
    return replace(
        verdict,
        claims=(*verdict.claims, claim),
        refutations=verdict.refutations + refutations,
        seconds=verdict.seconds + claim.seconds,
    )


def _refutations(changed: Mapping[Device, tuple[Difference, ...]], path: str) -> Iterator[Refutation]:
    for device, differences in changed.items():
        if differences:
            rest = f"; and {len(differences) - SHOWN:,} more" if len(differences) > SHOWN else ""
            told = "; ".join(map(str, differences[:SHOWN])) + rest
            yield Refutation(
                CLAIM, "changed-by-hand", f"{device} is not as compiled: {told}", str(device), "", len(differences),
                None, (), (), "", 0,
                f"`{itself()} up {path}` loads what is declared; what should stay belongs into the declaration",
            )  # fmt: skip
