"""Loading rulesets that are really compiled: the boxes that the flows say, and work that grows with devices alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks import synthetic_sites
from benchmarks.environment_scale import compiled_boxes, direct_boxes, set_of
from ringfort.proof import opaque, structure
from ringfort.proof.opaque import Behaviour
from ringfort.proof.ruleset import Element, Table

SMALL, LARGE = 100, 400
"""Hosts; both are one site, so that devices and flows grow alike."""


@contextmanager
def elements_looked_at() -> Iterator[list[int]]:
    """How many elements each grouping of a verdict map looks at."""
    sizes: list[int] = []
    real = opaque.group_by_behaviour

    def counted(table: Table, name: str) -> dict[Behaviour, list[Element]]:
        groups = real(table, name)
        sizes.append(sum(map(len, groups.values())))
        return groups

    with pytest.MonkeyPatch.context() as patch:
        for module in (opaque, structure):
            patch.setattr(module, "group_by_behaviour", counted)
        yield sizes


def test_boxes_of_compiled_rulesets_are_those_of_the_flows() -> None:
    environment = synthetic_sites.environment(SMALL)
    raw, facts, _ = compiled_boxes(environment)
    written, expected = direct_boxes(environment)
    assert set_of(raw) == set_of(written)
    assert facts.services == expected.services
    assert not facts.unsent | facts.undelivered


def test_loading_executes_as_often_however_many_hosts_there_are() -> None:
    counts = [compiled_boxes(synthetic_sites.environment(hosts))[2]["executions"] for hosts in (SMALL, LARGE)]
    assert counts[0] == counts[1] < SMALL


def test_loading_looks_at_each_element_a_few_times_however_many_there_are() -> None:
    looked = []
    for hosts in (SMALL, LARGE):
        with elements_looked_at() as sizes:
            raw, _, _ = compiled_boxes(synthetic_sites.environment(hosts))
        assert sum(sizes) > len(raw) / 2, "the count does count"
        looked.append(sum(sizes) / len(raw))
    assert looked[1] < 1.3 * looked[0], looked
