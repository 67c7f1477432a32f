"""The rulesets as files."""

from __future__ import annotations

import json

from ringfort.environment.topology import devices
from ringfort.network.compile import compile_environment
from ringfort.network.export import INDEX, export, file_stem
from tests.network.worlds import example, host, router, switch


def test_each_device_has_a_file_of_its_own() -> None:
    stems = [file_stem(device) for device in (router("r1"), switch("north/edge"), host("web"))]
    assert stems == ["routers/r1", "switches/north/edge", "hosts/web"]
    every = [file_stem(device) for device in devices(example("small"))]
    assert len(set(every)) == len(every)


def test_the_files_are_the_rulesets_their_settings_and_an_index() -> None:
    files = dict(export(example("small"), "nft"))
    rulesets = compile_environment(example("small"))
    assert len(files) == 2 * len(rulesets) + 1
    for device, ruleset in rulesets.items():
        assert files[f"{file_stem(device)}.nft"] == ruleset.text
        assert "accept_redirects = 0" in files[f"{file_stem(device)}.sysctl.conf"]
        assert f"| {device} | `{file_stem(device)}.nft`" in files[INDEX]


def test_json_files_are_the_documents() -> None:
    files = dict(export(example("small"), "json"))
    for device, ruleset in compile_environment(example("small")).items():
        assert json.loads(files[f"{file_stem(device)}.json"]) == ruleset.document


def test_the_index_says_which_interface_is_which() -> None:
    index = dict(export(example("small"), "nft"))[INDEX]
    assert "| alpha | provider north/alpha |" in index
    assert "198.51.100.2/28" in index
