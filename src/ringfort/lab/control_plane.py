"""The control plane of a lab as a whole: brought to what is declared, and whom it refused.

What people do elsewhere - approving an environment, handing out tokens - `ringfort up` does in their place, with keys
that it made.
"""

from __future__ import annotations

from collections.abc import Mapping

from ringfort.lab import approvers, controller, door, nodes, probing, processes, publishing, witness
from ringfort.lab.plane import Plane, Progress


def begin(plane: Plane, progress: Progress) -> None:
    """Start controller and witness where they don't run. Their hosts have their addresses; more they don't need yet."""
    approvers.ensure(plane.directory / "approvers")
    if plane.control.witness:
        witness.start(plane)
    controller.begin(plane, progress)


def converge(plane: Plane, progress: Progress) -> int:
    """Bring the control plane to what is declared: controller and witness run, the environment is published, every
    machine is enrolled, and every node has confirmed the version.

    Returns:
        The version.

    Raises:
        RingfortError: something of it doesn't come about in time; it is said what.
    """
    begin(plane, progress)
    controller.start(plane, progress)
    with plane.calling() as client:
        version = publishing.publish(plane, client, progress)
        nodes.enrol(plane, client, progress)
    nodes.confirmed(plane, version, progress)
    door.start(plane)
    return version


def _lines(log: str, words: str) -> int:
    """How many lines have these words, those about the lab's own probes left out (`ringfort.lab.probing`)."""
    return sum(words in line and f"/service/{probing.NAME}" not in line for line in log.splitlines())


def counts(plane: Plane) -> dict[tuple[str, str], Mapping[str, int]]:
    """By (service, host), how many callers the controller and the witness have refused, as their logs tell."""
    found: dict[tuple[str, str], Mapping[str, int]] = {}
    for name, logs, words in (
        (plane.control.controller, (controller.NAME,), "refused a connection from "),
        (plane.control.witness, witness.NAMES, "witness:caller:refused"),
    ):
        if name:
            refused = sum(_lines(processes.log(plane, process), words) for process in logs)
            found[name, plane.serving(name)[0]] = {"caller-not-allowed": refused}
    return found
