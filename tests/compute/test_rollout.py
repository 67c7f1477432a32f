"""A new version comes group by group, never below the floor, and stops at the first one that doesn't become healthy."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.compute.placement import update_domain
from ringfort.compute.rollout import BEFORE_SECONDS, Goal, Instance, State, Step, Version, next_step

OLD, NEW = Version(1, 0), Version(2, 0)


def goal(count: int, floor: int, domains: int = 1) -> Goal:
    return Goal(NEW, count, floor, domains, 60.0)


def fleet(count: int, told: Version = OLD) -> list[Instance]:
    return [Instance(f"i-{n}", n, told, is_healthy=True, is_placed=True, seconds=1000.0) for n in range(count)]


def told(known: list[Instance], names: tuple[str, ...]) -> list[Instance]:
    """As they are right after a step: those that were told are starting."""
    return [replace(one, told=NEW, is_healthy=False, seconds=0.0) if one.name in names else one for one in known]


def surged(known: list[Instance], count: int, wanted: bool) -> list[Instance]:
    """One more while it is wanted, and no more than that afterwards."""
    if wanted and len(known) == count:
        return [*known, Instance("surge", count, NEW, is_healthy=False, is_placed=True, seconds=0.0)]
    return known if wanted else known[:count]


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Goal, list[Instance]]:
    count = draw(st.integers(1, 12))
    return goal(count, draw(st.integers(0, count)), draw(st.integers(1, 5))), fleet(count)


@given(fleets(), st.randoms(use_true_random=False))
def test_it_is_done_in_the_end_and_never_below_the_floor(start: tuple[Goal, list[Instance]], random: object) -> None:
    wanted, known = start
    for _ in range(200):
        step = next_step(wanted, known)
        known = surged(told(known, step.update), wanted.count, step.surge)
        assert sum(one.is_healthy for one in known) >= wanted.floor
        starting = {
            update_domain(one.ordinal, wanted.domains)
            for one in known
            if not one.is_healthy and one.ordinal < wanted.count
        }
        assert len(starting) <= 1  # one group at a time
        if step.state is State.DONE:
            break
        # some of those that are starting become healthy
        known = [
            replace(one, is_healthy=one.is_healthy or random.random() < 0.5, seconds=one.seconds + 1)  # type: ignore[attr-defined]
            for one in known
        ]
    assert [one.told for one in known] == [NEW] * wanted.count
    assert all(one.is_healthy for one in known)


@given(fleets())
def test_a_version_that_never_becomes_healthy_breaks_one_group_at_most_and_fails(
    start: tuple[Goal, list[Instance]],
) -> None:
    wanted, known = start
    for _ in range(10):
        step = next_step(wanted, known)
        if step.state is State.FAILED:
            break
        known = surged(told(known, step.update), wanted.count, step.surge)
        known = [one if one.is_healthy else replace(one, seconds=one.seconds + 30) for one in known]
    assert step.state is State.FAILED
    broken = {update_domain(one.ordinal, wanted.domains) for one in known if one.told == NEW and one.name != "surge"}
    assert len(broken) <= 1
    assert sum(one.is_healthy for one in known) >= wanted.floor


@given(fleets(), st.sets(st.integers(0, 11)))
def test_a_step_taken_twice_is_one_step(start: tuple[Goal, list[Instance]], unwell: set[int]) -> None:
    wanted, known = start
    known = [replace(one, is_healthy=one.ordinal not in unwell) for one in known]
    once = told(known, next_step(wanted, known).update)
    again = next_step(wanted, once)
    healthy_before = {one.name for one in once if one.is_healthy and one.told == OLD}
    assert not (set(again.update) & healthy_before) or not [one for one in once if one.told == NEW]


@settings(deadline=None)
@given(fleets(), st.integers())
def test_losses_on_the_way_delay_it_and_no_step_takes_one_too_many(
    start: tuple[Goal, list[Instance]], seed: int
) -> None:
    """Nodes are lost and come back, operators hold instances: a step never leaves fewer than the floor by itself."""
    (wanted, known), random = start, Random(seed)
    for turn in range(80):
        if turn < 40:  # then it is quiet
            known = [struck(one, random) for one in known]
        step = next_step(wanted, known)
        after = surged(told(known, step.update), wanted.count, step.surge)
        healthy, left = (sum(one.is_healthy for one in some) for some in (known, after))
        assert left >= min(healthy, wanted.floor)
        assert step.state is not State.FAILED
        known = [
            replace(one, is_placed=True, is_healthy=True) if turn >= 40 else recovering(one, random) for one in after
        ]
    assert next_step(wanted, known) == Step(State.DONE)
    assert [(one.told, one.is_healthy) for one in known] == [(NEW, True)] * wanted.count


def struck(one: Instance, random: Random) -> Instance:
    """Now and then an instance is lost with its node."""
    return replace(one, is_healthy=False, is_placed=False) if random.random() < 0.1 else one


def recovering(one: Instance, random: Random) -> Instance:
    """And comes back on another one."""
    placed = one.is_placed or random.random() < 0.3
    return replace(one, is_placed=placed, is_healthy=one.is_healthy or (placed and random.random() < 0.5))


def test_those_that_cannot_run_do_not_keep_a_version_from_being_reached_unless_they_are_all() -> None:
    held = Instance("i-1", 1, NEW, is_healthy=False, is_placed=False, seconds=10_000.0)
    assert next_step(goal(2, 1), [*fleet(1, NEW), held]) == Step(State.DONE)
    alone = replace(held, name="i-0", ordinal=0)
    assert next_step(goal(2, 1), [alone, held]).state is State.GOING


def test_a_spare_instance_stays_while_one_that_is_wanted_is_missing() -> None:
    spare = Instance("i-2", 2, NEW, is_healthy=True, is_placed=True, seconds=10.0)
    lost = Instance("i-1", 1, NEW, is_healthy=False, is_placed=False, seconds=10.0)
    assert next_step(goal(2, 2), [*fleet(1, NEW), lost, spare]) == Step(State.DONE, surge=True)
    assert next_step(goal(2, 2), [*fleet(2, NEW), spare]) == Step(State.DONE)
    assert next_step(replace(goal(2, 2), was_reached=True), [*fleet(1, NEW), lost, spare]).surge


def test_all_but_one_may_wait_for_the_last_when_none_may_be_missing() -> None:
    step = next_step(goal(2, 2), fleet(2))
    assert (step.update, step.surge) == ((), True)
    more = surged(fleet(2), 2, wanted=True)
    assert next_step(goal(2, 2), more).update == ()
    more = [replace(one, is_healthy=True) for one in more]
    assert next_step(goal(2, 2), more).update == ("i-0",)


def test_instances_that_are_not_healthy_are_told_at_once() -> None:
    known = [replace(one, is_healthy=one.ordinal != 3) for one in fleet(4)]
    assert next_step(goal(4, 3, 4), known).update == ("i-3",)


def test_an_instance_that_waits_for_room_holds_nothing_up_and_fails_nothing() -> None:
    waits = Instance("i-2", 2, NEW, is_healthy=False, is_placed=False, seconds=10_000.0)
    step = next_step(goal(3, 1, 3), [*fleet(2), waits])
    assert (step.state, step.update) == (State.GOING, ("i-0",))


def test_an_instance_that_falls_ill_later_is_not_the_versions_fault() -> None:
    known = [*fleet(2, NEW), Instance("i-2", 2, NEW, is_healthy=False, is_placed=True, seconds=10_000.0)]
    assert next_step(goal(3, 2), known).state is State.FAILED
    assert next_step(replace(goal(3, 2), was_reached=True), known).state is State.DONE


def test_time_before_its_start_is_not_held_against_a_version() -> None:
    starts = Instance("i-0", 0, NEW, is_healthy=False, is_placed=True, seconds=61.0)
    assert next_step(goal(2, 1), [starts, *fleet(2)[1:]]).state is State.GOING
    assert next_step(goal(2, 1), [replace(starts, is_failing=True), *fleet(2)[1:]]).state is State.FAILED
    late = replace(starts, seconds=60.0 + BEFORE_SECONDS + 1)
    assert next_step(goal(2, 1), [late, *fleet(2)[1:]]).state is State.FAILED


def test_settings_are_rolled_out_like_software() -> None:
    wanted = replace(goal(2, 1, 2), version=Version(1, 1))
    assert next_step(wanted, fleet(2)).update == ("i-0",)
