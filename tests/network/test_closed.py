"""Before the first environment a device refuses everything but the way to the controllers."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from ringfort.network.canonical import same
from ringfort.network.closed import closed_table
from ringfort.network.render import render
from tests.network.kernel import namespace
from tests.network.worlds import keys, objects, rules

CONTROLLERS = [(ip_address("10.10.5.5"), 9440), (ip_address("fd00::5"), 9440), (ip_address("10.10.5.6"), 9440)]
ACCEPT = {"accept": None}


@pytest.mark.parametrize("family", ["inet", "bridge"])
def test_every_way_through_a_device_is_refused_unless_a_rule_accepts(family: str) -> None:
    document = closed_table(family, CONTROLLERS)
    hooked = {chain["hook"]: chain["policy"] for chain in objects(document, "chain").values() if "hook" in chain}
    assert hooked == dict.fromkeys(("input", "forward", "output"), "drop")


@pytest.mark.parametrize("family", ["inet", "bridge"])
def test_only_the_controllers_and_the_device_itself_are_accepted(family: str) -> None:
    document = closed_table(family, CONTROLLERS)
    assert keys(document, "controllers4") == [("10.10.5.5", 9440), ("10.10.5.6", 9440)]
    assert keys(document, "controllers6") == [("fd00::5", 9440)]
    for chain in ("input", "forward", "output"):
        for expressions in rules(document, chain):
            if expressions[-1] == ACCEPT:
                assert "@controllers" in str(expressions) or "'lo'" in str(expressions)


def test_without_controllers_nothing_passes() -> None:
    assert "'accept'" not in str(rules(closed_table("bridge", []), "forward"))
    assert rules(closed_table("inet", []), "forward") == [[{"goto": {"target": "refused-undeclared"}}]]


@pytest.mark.lab
@pytest.mark.parametrize("family", ["inet", "bridge"])
@pytest.mark.parametrize("controllers", [CONTROLLERS, []])
def test_the_kernel_lists_what_was_meant(family: str, controllers: list[tuple[object, int]]) -> None:
    document = closed_table(family, controllers)  # type: ignore[arg-type]
    with namespace() as space:
        space.load(render(document, "closed"))
        assert same(document, space.document())
