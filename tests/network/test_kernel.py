"""The kernel takes what we compile, and gives back what we think it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from ringfort.environment.load import load, load_text
from ringfort.environment.model import Environment
from ringfort.network.canonical import canonical
from ringfort.network.compile import compile_device, compile_environment
from ringfort.network.drift import drift
from ringfort.network.ruleset import Ruleset
from tests.network.kernel import Namespace, namespace
from tests.network.worlds import EXAMPLES, SMALL, example, router, worlds

pytestmark = pytest.mark.lab

SHOP = Path(__file__).parents[2] / "examples" / "shop"


@pytest.fixture(scope="module")
def kernel() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


def distinct(environment: Environment) -> list[Ruleset]:
    """Each different ruleset of an environment once: the routers of a site share theirs."""
    return list({id(ruleset.document): ruleset for ruleset in compile_environment(environment).values()}.values())


def told(ruleset: Ruleset, kernel: Namespace) -> list[str]:
    """How what the kernel lists differs from what was compiled, in words."""
    return list(map(str, drift(ruleset.document, kernel.document())))


def assert_kernel_agrees(kernel: Namespace, ruleset: Ruleset) -> None:
    kernel.flush()
    kernel.load(ruleset.text)
    assert told(ruleset, kernel) == [], ruleset.device


def test_the_kernel_lists_every_device_of_the_example_as_we_compiled_it(kernel: Namespace) -> None:
    for ruleset in distinct(load(SHOP)):
        assert_kernel_agrees(kernel, ruleset)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_kernel_lists_small_empty_and_one_family_environments_as_we_compiled_them(
    kernel: Namespace, name: str
) -> None:
    for ruleset in distinct(example(name)):
        assert_kernel_agrees(kernel, ruleset)


@given(world=worlds())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_kernel_lists_any_environment_as_we_compiled_it(kernel: Namespace, world: Environment) -> None:
    for ruleset in distinct(world):
        assert_kernel_agrees(kernel, ruleset)


def test_the_json_loads_to_the_same_as_the_text(kernel: Namespace) -> None:
    for ruleset in distinct(example("small")):
        kernel.flush()
        kernel.must("nft", "--json", "--file", "-", text=json.dumps(ruleset.document))
        # nft 1.0.6 forgets the comments of sets when it reads JSON.
        assert canonical(kernel.document(), comments=False) == canonical(ruleset.document, comments=False)


def test_loading_twice_gives_the_same_state(kernel: Namespace) -> None:
    for ruleset in distinct(example("small")):
        assert_kernel_agrees(kernel, ruleset)
        once = kernel.document()
        kernel.load(ruleset.text)
        assert canonical(kernel.document()) == canonical(once)


def test_a_ruleset_that_is_refused_leaves_the_old_one_whole(kernel: Namespace) -> None:
    ruleset = compile_device(example("small"), router("r1"))
    assert_kernel_agrees(kernel, ruleset)
    broken = ruleset.text.replace("goto from-internet", "goto nowhere")
    assert kernel.run("nft", "--file", "-", text=broken).returncode != 0
    assert told(ruleset, kernel) == []


def test_loading_leaves_other_tables_alone(kernel: Namespace) -> None:
    kernel.flush()
    kernel.load("table ip mine { chain own { }\n }\n")
    ruleset = compile_device(example("small"), router("r1"))
    kernel.load(ruleset.text)
    assert told(ruleset, kernel) == ["the ruleset: + table ip mine, with 1 chain and 0 rules"]


def test_a_changed_element_is_found(kernel: Namespace) -> None:
    ruleset = compile_device(example("small"), router("r1"))
    assert_kernel_agrees(kernel, ruleset)
    kernel.must("nft", "delete", "element", "inet", "ringfort", "never-internet4", "{", "127.0.0.0/8", "}")
    place = "set never-internet4 of table inet ringfort"
    assert told(ruleset, kernel) == [f"{place}: - 127.0.0.0/8"]


def test_names_and_reasons_at_their_limits_load(kernel: Namespace) -> None:
    longest = "n" + "a" * 62  # a DNS label: RFC 1035, 2.3.4
    reason = '\\u2603 \\"quoted\\" ' + "very long " * 15
    text = (
        SMALL.replace("watch", longest)
        .replace(" edge:", f" {longest}:")
        .replace("segment: edge", f"segment: {longest}")
        .replace("alpha", longest[:60] + "one")
        .replace("beta", longest[:60] + "two")
        .replace("r1, r2", f"{longest[:62]}1, {longest[:62]}2")
        .replace("reason: visitors", f'reason: "{reason}"')
    )
    for ruleset in distinct(load_text(text)):
        assert_kernel_agrees(kernel, ruleset)


def test_flow_names_beyond_any_limit_load(kernel: Namespace) -> None:
    small = example("small")
    flows = {f"{'x' * 300}/{name}": replace(flow, name=f"{'x' * 300}/{name}") for name, flow in small.flows.items()}
    for ruleset in distinct(replace(small, flows=flows)):
        assert_kernel_agrees(kernel, ruleset)
