"""Remove a lab: its processes, its namespaces, its state. Needs only the environment's name."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from ringfort.lab import building, control, gates, netlink, netns, processes, state
from ringfort.lab.changes import Changes
from ringfort.node.hosting import memory_of


def take_down(environment: str, progress: Callable[[str], None], *, dry_run: bool = False) -> Changes:
    """Remove everything that `ringfort.lab.building` made; the caller holds the lab's lock.

    Only namespaces that carry our mark go, even those that the declaration no longer has.
    """
    changes = Changes(is_dry_run=dry_run)
    with netlink.Connections() as connections:
        changes.removed = building.ours(environment, connections)
    changes.services = "stopped" if control.running(environment) else "none"
    if dry_run:
        return changes
    processes.end(environment)
    control.end(environment)
    gates.end(environment)
    if changes.removed:
        progress(f"removing {len(changes.removed)} namespaces")
    for name in changes.removed:
        netns.delete(name)
    for node in state.directory(environment).glob("control/nodes/*/state"):
        shutil.rmtree(memory_of(node), ignore_errors=True)
    state.forget(environment)
    return changes
