"""The proof says what the kernel does: random rulesets, random packets, every verdict compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.differential.bench import Bench
from tests.differential.compare import experiment, random_probes
from tests.differential.rulesets import rulesets

FAMILIES = {"inet": 0.7, "bridge": 0.15, "netdev": 0.15}
"""Family -> its share of the pairs."""

PROBES = 50
"""Packets for each ruleset."""


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


def _compare(bench: Bench, family: str, pairs: int, *, probes: int = PROBES, shrink: bool = True) -> int:
    compared = 0

    @settings(
        max_examples=max(1, pairs // probes),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
    )
    @given(rulesets(family), st.integers(0, 2**32))
    def agree(rules: str, seed: int) -> None:
        nonlocal compared
        connections = family == "inet" and ("ct " in rules or "nat" in rules)
        outcome = experiment(bench, rules, family, random_probes(seed, probes, family, connections=connections))
        if outcome is not None:
            compared += outcome.compared
            assert not outcome.differences, outcome.differences[0]

    agree()
    return compared


@pytest.mark.lab
@pytest.mark.parametrize("family", FAMILIES)
def test_the_proof_says_what_the_kernel_does(bench: Bench, family: str) -> None:
    wanted = int(2_000 * FAMILIES[family])
    compared = 0
    while compared < wanted:
        compared += _compare(bench, family, wanted - compared + 2 * PROBES)


@pytest.mark.lab
@pytest.mark.differential
@pytest.mark.parametrize("family", FAMILIES)
def test_the_proof_says_what_the_kernel_does_many_times(bench: Bench, family: str, pytestconfig: pytest.Config) -> None:
    pairs = int(pytestconfig.getoption("--pairs", 100_000) * FAMILIES[family])
    compared = 0
    while compared < pairs:
        wanted = min(pairs - compared + 500, 10_000)
        compared += _compare(bench, family, wanted, probes=2 * PROBES, shrink=False)
        print(f"{family}: {compared} pairs of ruleset and packet, no disagreement", flush=True)
