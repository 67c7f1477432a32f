"""Marks tell providers apart, where there is a choice."""

from __future__ import annotations

from ringfort.network.marks import provider_marks
from tests.network.worlds import example


def test_each_provider_of_a_site_has_a_mark_from_one() -> None:
    assert provider_marks(example("small"), "north") == {"north/alpha": 1, "north/beta": 2}


def test_a_site_with_one_way_out_has_no_marks() -> None:
    assert provider_marks(example("ipv6-only"), "north") == {}
