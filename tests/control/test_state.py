"""What was found out by what a controller knows is found out anew when any of that changes."""

from __future__ import annotations

from dataclasses import fields

import pytest

from ringfort.control.state import State
from tests.control.running import Running
from tests.control.test_revocation import until_refused


@pytest.mark.parametrize("name", [f.name for f in fields(State) if f.name not in ("generation", "looked")])
def test_another_generation_begins_with_whatever_is_set(name: str) -> None:
    state = State()
    before = state.generation
    setattr(state, name, getattr(state, name))
    assert state.generation != before


def test_when_it_was_looked_at_changes_nothing() -> None:
    state = State()
    before = state.generation
    state.looked = 7.0
    assert state.generation == before


def test_a_read_allowed_a_moment_ago_is_refused_once_the_state_is_too_old(controller: Running) -> None:
    operator = controller.operator("nora")
    operator.get("/v1/nodes")
    operator.get("/v1/nodes")  # the second time it is known to be allowed
    state = controller.controller.watcher.state
    kept = state.looked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ringfort.control.state.STALE_SECONDS", -1.0)
        assert until_refused(operator, "/v1/nodes") < 1.0
    assert state.looked >= kept
    operator.close()


def test_a_read_allowed_a_moment_ago_is_refused_once_the_role_is_gone(controller: Running) -> None:
    operator = controller.operator("nora")
    operator.get("/v1/nodes")
    operator.get("/v1/nodes")
    state = controller.controller.watcher.state
    before = state.configured
    try:
        state.configured = {name: one for name, one in before.items() if name != "nora"}
        assert until_refused(operator, "/v1/nodes") < 1.0
    finally:
        state.configured = before
    operator.close()
