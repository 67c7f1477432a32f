"""The wiring of a lab: brought to the plan, looked at again, waited for.

Netlink messages are many and each takes a while to make in Python, so where many namespaces are concerned the work is
shared with every processor we may use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from ringfort.errors import RingfortError
from ringfort.kernel.beside import side_by_side
from ringfort.lab import netlink
from ringfort.lab.differences import Change, Seen, Step, as_planned, differences, with_ends
from ringfort.lab.shapes import Namespace

ROUNDS = 4
"""How often the wiring is looked at again after it was changed."""

SETTLE_SECONDS = 5.0
"""How long a link may take to carry packets once both its ends are up."""

MANY, PARTS = 16, 4
"""From so many namespaces on the work is shared, in so many parts."""

TOGETHER = ((Step.SET_LINK, Step.ADD_ADDRESS, Step.REMOVE), (Step.SET_STATE,), (Step.ADD,))
"""Steps after those that make links, which join namespaces: within each of these no namespace waits for another."""


def rewire(
    before: Mapping[str, Namespace],
    wanted: Mapping[str, Namespace],
    names: Iterable[str],
    connections: netlink.Connections,
) -> None:
    """Bring the wiring of some namespaces from one plan to another that makes and removes no link.

    Raises:
        RingfortError: something doesn't stay as it was set.
    """
    chosen = {name: wanted[name] for name in names}
    todo = differences(chosen, {name: as_planned(namespace) for name, namespace in before.items()})
    _converge(wanted, chosen, connections, todo, lambda: with_ends(chosen, observed([*chosen], connections)))


def converge(
    wanted: Mapping[str, Namespace],
    names: Iterable[str],
    connections: netlink.Connections,
    todo: list[Change],
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Do the changes, then look whether nothing is left to do: some changes take others with them.

    Raises:
        RingfortError: something doesn't stay as it was set.
    """
    chosen = {name: wanted[name] for name in names}
    ends = {link.peer[0] for namespace in chosen.values() for link in namespace.links.values() if link.peer}
    _converge(wanted, chosen, connections, todo, lambda: observed([*{*chosen, *ends}], connections), meanwhile)


def _converge(
    wanted: Mapping[str, Namespace],
    chosen: Mapping[str, Namespace],
    connections: netlink.Connections,
    todo: list[Change],
    look: Callable[[], Mapping[str, Seen]],
    meanwhile: Callable[[], None] | None = None,
) -> None:
    for _ in range(ROUNDS):
        _apply(connections, todo)
        if meanwhile is not None:
            meanwhile()
            meanwhile = None
        todo = differences(chosen, look())
        if not todo:
            settle(wanted, chosen, connections)
            return
    raise RingfortError("not-converging", f"it doesn't stay so: {todo[0]}", "does something else configure the lab?")


def observed(names: Sequence[str], connections: netlink.Connections) -> dict[str, Seen]:
    """What there is in some namespaces; in many, with every processor we may use."""
    if len(names) < MANY:
        return {name: netlink.observe(connections, name) for name in names}
    found: dict[str, Seen] = {}
    for part in side_by_side([partial(_observe_apart, names[place::PARTS]) for place in range(PARTS)]):
        found |= part
    return found


def _observe_apart(names: Iterable[str]) -> dict[str, Seen]:
    with netlink.Connections() as own:
        return {name: netlink.observe(own, name) for name in names}


def _apply(connections: netlink.Connections, todo: Sequence[Change]) -> None:
    """Do the changes. Those of one step wait for the steps before it everywhere; then namespaces don't wait for each
    other, so every processor we may use does some.

    Raises:
        RingfortError: the kernel refuses one.
    """
    if len({change.namespace for change in todo}) < MANY:
        netlink.apply(connections, todo)
        return
    netlink.apply(connections, [change for change in todo if change.step <= Step.STACK_LINK])
    for steps in TOGETHER:
        by_namespace: dict[str, list[Change]] = {}
        for change in todo:
            if change.step in steps:
                by_namespace.setdefault(change.namespace, []).append(change)
        lists = list(by_namespace.values())
        parts = [[change for some in lists[place::PARTS] for change in some] for place in range(PARTS)]
        for error in side_by_side([partial(_apply_apart, part) for part in parts if part]):
            if error is not None:
                raise RingfortError(*error)


def _apply_apart(changes: Sequence[Change]) -> tuple[str, str, str] | None:
    """Do some changes; what the kernel said against it. Raised in another process it would be tried here again."""
    with netlink.Connections() as own:
        try:
            netlink.apply(own, sorted(changes, key=lambda change: change.step))
        except RingfortError as error:
            return error.code, error.message, error.hint
    return None


def settle(wanted: Mapping[str, Namespace], names: Iterable[str], connections: netlink.Connections) -> None:
    """Wait until every link of some namespaces, whose two ends are planned to be up, carries packets.

    Raises:
        RingfortError: one doesn't in time.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    waiting = list(names)
    while True:
        slow = {name: _slow_links(wanted, name, connections) for name in waiting}
        waiting = [name for name, links in slow.items() if links]
        if not waiting:
            return
        if time.monotonic() > deadline:
            link = slow[waiting[0]][0]
            raise RingfortError("link-down", f"{link} of {waiting[0]} stays down", "run `ringfort up` again")
        time.sleep(0.01)


def _slow_links(wanted: Mapping[str, Namespace], name: str, connections: netlink.Connections) -> list[str]:
    links = wanted[name].links
    return [link for link in netlink.unready(connections, wanted[name]) if _peer_is_up(wanted, links[link].peer)]


def _peer_is_up(wanted: Mapping[str, Namespace], peer: tuple[str, str] | None) -> bool:
    return peer is not None and wanted[peer[0]].links[peer[1]].up
