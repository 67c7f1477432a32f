"""The example environment, whole: every declared call with real packets, over either router of every site."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfort.lab.lab import Lab
from tests.lab import worlds
from tests.lab.calls import declared, failures

pytestmark = pytest.mark.lab


def test_the_example_comes_up_works_over_either_router_and_goes(tmp_path: Path) -> None:
    found = worlds.example(tmp_path, "shop")
    with Lab(found) as lab:
        try:
            changes = lab.up()
            assert len(changes.created) == 72
            assert len(list(declared(found))) > 300
            assert failures(lab) == []
            for site in found.sites.values():
                lab.activate(site.name, site.routers[1])
            assert failures(lab) == []
            assert lab.up().is_nothing
        finally:
            lab.down()
