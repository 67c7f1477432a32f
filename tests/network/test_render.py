"""The text of a ruleset: readable, and one transaction."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ringfort.environment.topology import Device
from ringfort.network.compile import compile_device
from ringfort.network.render import render
from ringfort.network.table import TableBuilder
from tests.network.worlds import example, host, router, sandbox, switch

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("world", "device", "file"),
    [
        ("small", router("r1"), "router.nft"),
        ("small", switch("north/edge"), "switch.nft"),
        ("small", host("web"), "host-web.nft"),
        ("small", host("app-1"), "host-app-1.nft"),
        ("guests", sandbox("acme"), "sandbox.nft"),
    ],
)
def test_a_small_environment_compiles_to_this_text(world: str, device: Device, file: str) -> None:
    """To renew the files after a change that is meant: UPDATE_GOLDEN=1 pytest tests/network/test_render.py."""
    text = compile_device(example(world), device).text
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / file).write_text(text)
    assert text == (GOLDEN / file).read_text()


def test_the_table_is_replaced_as_a_whole() -> None:
    lines = compile_device(example("small"), router("r1")).text.splitlines()
    assert lines[:4] == [
        "# Ringfort: routers of site north (r1, r2) in small",
        "table inet ringfort",
        "delete table inet ringfort",
        "table inet ringfort {",
    ]
    assert lines[-1] == "}"


def test_a_form_that_the_renderer_does_not_know_is_refused() -> None:
    table = TableBuilder("inet")
    table.rule(table.chain("strange"), {"quota": {"val": 1}})
    with pytest.raises(ValueError, match="quota"):
        render(table.document(), "strange")


def test_an_element_that_does_not_fit_its_set_is_refused() -> None:
    table = TableBuilder("inet")
    table.set("bound", ("ifname", "ipv4_addr"), ["10.0.0.1"])
    with pytest.raises(ValueError, match=r"10\.0\.0\.1"):
        render(table.document(), "strange")
