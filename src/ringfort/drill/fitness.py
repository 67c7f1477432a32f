"""Whether a lab is fit to be drilled: up, and as compiled, or there is nothing to learn from it."""

from __future__ import annotations

from ringfort.errors import RingfortError
from ringfort.lab.changes import Changes
from ringfort.lab.lab import Lab


def refuse_unfit(lab: Lab, *, as_is: bool = False) -> None:
    """Refuse a lab that is not up or, unless ``as_is``, not as compiled.

    Raises:
        RingfortError: says what to do.
    """
    name = lab.environment.name
    if not lab.is_up():
        raise RingfortError("lab-not-up", f"the environment {name!r} is not up", "run `ringfort up` first")
    if as_is:
        return
    changes = lab.up(dry_run=True)
    if not changes.is_nothing:
        raise RingfortError(
            "lab-differs",
            f"the running lab of {name!r} is not what its file says: {in_short(changes)}",
            "run `ringfort up` to mend it, or drill it as it is with --quick --as-is",
        )


def in_short(changes: Changes) -> str:
    """What differs from what is compiled, in a few words."""
    different = [*changes.created, *changes.removed, *changes.loaded, *changes.wired]
    if changes.services not in ("kept", "none"):
        different.append("its services")
    more = f" and {len(different) - 4} more" if len(different) > 4 else ""
    return ", ".join(different[:4]) + more + " would change" if different else "keys are missing"
