"""A new version, one group of instances after the other: a pure function from how they are to what may be done next.

Nothing is remembered between two steps: what is updated can be seen from what the instances are told to run. So a step
may be taken by any controller, at any time, and twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ringfort.compute.placement import update_domain

BEFORE_SECONDS = 60.0
"""What comes before the start of an instance that was told another version, and isn't that one's fault: the old one
is drained and stopped, software comes, a machine boots."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """What an instance runs: which deployment, and which state of configuration and secrets."""

    deployment: int
    settings: int


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance as it is.

    Attributes:
        told: what it should run.
        is_healthy: whether it runs that, and is well.
        is_placed: whether a node that is well has it, and may run it. One that waits for a place, was lost with its
            node or is held by an operator holds nothing up, and fails nothing.
        seconds: for how long it has been told so.
        is_failing: whether it runs that, and its node says that it isn't well.
    """

    name: str
    ordinal: int
    told: Version
    is_healthy: bool
    is_placed: bool
    seconds: float
    is_failing: bool = False

    def is_late(self, seconds: float) -> bool:
        """Whether it has had time enough to become healthy, if a start may take so long."""
        return not self.is_healthy and self.seconds > seconds + (0.0 if self.is_failing else BEFORE_SECONDS)


@dataclass(frozen=True, slots=True)
class Goal:
    """Where an application should get.

    Attributes:
        floor: how many stay healthy meanwhile.
        domains: in how many groups it is updated.
        seconds: how long an instance may take to become healthy, once it starts.
        was_reached: whether all instances have been healthy in this version before: then it is not the version's fault
            if one is not.
    """

    version: Version
    count: int
    floor: int
    domains: int
    seconds: float
    was_reached: bool = False


class State(StrEnum):
    """How an update stands."""

    DONE = "done"
    GOING = "going"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """What may be done now.

    Attributes:
        update: instances to tell the new version.
        surge: whether one more instance than wanted is needed, because none of them may be missing; if it isn't, one
            that is there may go.
    """

    state: State
    update: tuple[str, ...] = ()
    surge: bool = False


def next_step(goal: Goal, instances: Iterable[Instance]) -> Step:
    """What may be done now so that never fewer than ``goal.floor`` instances are healthy because of it.

    Instances that are not healthy are told the new version at once: nothing is lost by it. Healthy ones follow group by
    group, when all that were told before are healthy, and as many at once as the floor leaves. If one that was told is
    not healthy in time, the version has failed, and nobody else is told.
    """
    known = sorted(instances, key=lambda one: one.ordinal)
    old = [one for one in known if one.told != goal.version]
    new = [one for one in known if one.told == goal.version and one.is_placed]
    unwell = [one for one in new if not one.is_healthy]
    if not goal.was_reached and any(one.is_late(goal.seconds) for one in unwell):
        return Step(State.FAILED)
    wanted = [one for one in known if one.ordinal < goal.count]
    has_spare = len(known) > goal.count
    if _is_whole(goal, wanted) or (goal.was_reached and not old):
        return Step(State.DONE, surge=has_spare and sum(one.is_healthy for one in wanted) < goal.floor)
    update = [one.name for one in old if not one.is_healthy]
    healthy = [one for one in old if one.is_healthy]
    if healthy and not unwell:
        group = min(update_domain(one.ordinal, goal.domains) for one in healthy)
        spare = max(0, sum(one.is_healthy for one in known) - goal.floor)
        turn = [one.name for one in healthy if update_domain(one.ordinal, goal.domains) == group]
        update += turn[:spare]
    return Step(State.GOING, tuple(update), goal.floor >= goal.count and (bool(healthy) or has_spare))


def _is_whole(goal: Goal, wanted: list[Instance]) -> bool:
    """Whether all are told the version, and those that can run it are well, at least one of them."""
    told = len(wanted) == goal.count and all(one.told == goal.version for one in wanted)
    placed = [one for one in wanted if one.is_placed]
    return told and bool(placed) and all(one.is_healthy for one in placed)
