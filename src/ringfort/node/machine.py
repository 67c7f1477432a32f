"""What a node does when something happens: events in, effects out, and the time is an argument. Pure.

It is the commit-confirm of a router. A new revision is noted on the disk, loaded, and kept only if a controller answers
on a connection that was opened under its rules; otherwise the revision before it comes back. Effects are performed in
their order. A node that dies between any two of them begins again with `begin` from what is on the disk, and the kernel
holds the committed revision or the one on trial.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from ringfort.node.journal import CLOSED, Failure, Journal, Revision, Trial

CONFIRM_SECONDS = 25.0
"""How long a revision may be on trial; with what loading takes, less than the 30 s that are promised."""

RETRY_SECONDS = 2.0
"""How long to wait before loading again what the kernel would not take."""

ATTEMPTS = 3
"""How often a revision is tried; then it takes a newer one."""

AGAIN_SECONDS = (30.0, 300.0)
"""How long after a failure the same revision is tried again: after the first, after the second."""


class Kind(StrEnum):
    """What a node has to tell; `Told.alert` says which of them somebody should look at. Stable names."""

    CLOSED = "closed"  # it refuses everything but the controllers
    LOADED = "loaded"  # a revision is on trial
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled-back"
    NOT_LOADED = "not-loaded"  # the kernel would not take what it has to hold
    LOST = "lost"  # what was committed cannot be read from the disk any more
    NOT_KEPT = "not-kept"  # the disk fails
    DRIFT = "drift"  # somebody changed the rules, and they were changed back


ALERTS = frozenset({Kind.ROLLED_BACK, Kind.NOT_LOADED, Kind.LOST, Kind.NOT_KEPT, Kind.DRIFT})


# --- events --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepared:
    """A verified revision has been compiled and is on the disk."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Loaded:
    """The kernel holds a revision, on every device."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """Some device would not take a revision; others may hold it."""

    revision: Revision
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A revision that should be on the disk cannot be read."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Reached:
    """A controller has answered on a connection that was opened after ``revision`` was loaded, and no enforcement point
    stands in the way."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Drifted:
    """The rules of some devices are not what was loaded: how, in nft's words, and who did it as far as is known."""

    devices: tuple[str, ...]
    what: str
    changes: tuple[str, ...] = ()
    by: str = ""


@dataclass(frozen=True, slots=True)
class NotKept:
    """The disk did not take a journal that was needed; the state is the one before that step."""

    reason: str


@dataclass(frozen=True, slots=True)
class Passed:
    """Time has passed: see `wake`. ``hindrance``: what stands in the way of what is on trial, if a controller was
    reached."""

    hindrance: str = ""


Event: TypeAlias = Prepared | Loaded | NotLoaded | Lost | Reached | Drifted | NotKept | Passed


# --- effects -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keep:
    """Put the journal on the disk, so that it survives the power, before anything else is done.

    If the disk fails where that is ``needed``, the step has not happened: no further effect, the state before it, and
    `NotKept`. No step has two of them.
    """

    journal: Journal
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Load:
    """Make devices (all if none is named) hold a revision, each in one transaction; answer with what became of it.

    One that does not take it is no reason to leave out the others.
    """

    revision: Revision
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """Reach a controller on a new connection, again and again; answer with `Reached`."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell a controller as soon as one can be reached."""

    kind: Kind
    what: str
    changes: tuple[str, ...] = ()
    by: str = ""

    @property
    def alert(self) -> bool:
        """Whether somebody should look at it."""
        return self.kind in ALERTS


@dataclass(frozen=True, slots=True)
class Prune:
    """Forget what is on the disk of other revisions, up to the newest of these."""

    keep: frozenset[Revision]


Effect: TypeAlias = Keep | Load | Ask | Tell | Prune
Step: TypeAlias = "tuple[State, tuple[Effect, ...]]"


@dataclass(frozen=True, slots=True)
class State:
    """``loaded`` is what the kernel is known to hold, ``prepared`` what should be in force next, ``retry`` when to
    load again what would not load, ``pause`` until when the disk is left alone, ``now`` the seconds since boot."""

    journal: Journal
    now: float
    loaded: Revision | None = None
    prepared: Revision | None = None
    retry: float | None = None
    pause: float = 0.0
    confirm_seconds: float = CONFIRM_SECONDS

    @property
    def enforced(self) -> Revision:
        """What the kernel should hold now."""
        return self.journal.enforced


def begin(journal: Journal | None, boot: str, now: float, confirm_seconds: float = CONFIRM_SECONDS) -> Step:
    """From what is on the disk (None: nothing, this is the first time) to what has to be done first.

    Args:
        journal: as it was kept last.
        boot: names this boot of the machine.
        now: seconds since boot.
        confirm_seconds: how long a revision may be on trial.
    """
    if journal is None:
        journal = Journal(CLOSED, boot)
        state = State(journal, now, confirm_seconds=confirm_seconds)
        return state, (Keep(journal, needed=False), Load(CLOSED), Tell(Kind.CLOSED, f"it enforces {CLOSED}"))
    state = State(journal, now, confirm_seconds=confirm_seconds)
    if journal.boot != boot:  # the clock began anew, and the kernel holds nothing
        failure = replace(journal.failure, again=now) if journal.failure else None
        state = replace(state, journal=replace(journal, boot=boot, failure=failure))
        if journal.trial is not None:
            return _fail(state, "the machine was started anew before a controller was reached")
        return state, (Keep(state.journal, needed=False), Load(state.enforced))
    if journal.trial is not None and now >= journal.trial.deadline:
        return _fail(state, "no controller was reached in time")
    return state, (Load(state.enforced),)


def wake(state: State) -> float | None:
    """The time (seconds since boot) at which `Passed` has something to do, perhaps in the past; None if never."""
    times = [state.retry] if state.retry is not None else []
    if state.journal.trial is not None:
        times.append(state.journal.trial.deadline)
    elif (begins := _begins(state)) is not None:
        times.append(begins)
    return min(times, default=None)


def step(state: State, event: Event, now: float) -> Step:
    """The state after an event, and what has to be done, in this order."""
    state = replace(state, now=now)
    match event:
        case Prepared(revision):
            return _advance(replace(state, prepared=revision))
        case Loaded(revision):
            return _loaded(state, revision)
        case NotLoaded(revision, reason):
            return _not_loaded(state, revision, reason)
        case Lost(revision):
            return _lost(state, revision)
        case Reached(revision):
            return _reached(state, revision)
        case Drifted(devices, what, changes, by):
            # If another device is known not to hold its rules, loading these alone would hide that.
            chosen = devices if state.loaded == state.enforced else ()
            return state, (Load(state.enforced, chosen), Tell(Kind.DRIFT, what, changes, by))
        case NotKept(reason):
            return _not_kept(state, reason)
        case Passed(hindrance):
            return _passed(state, hindrance)


def _loaded(state: State, revision: Revision) -> Step:
    if revision != state.enforced:
        return state, ()
    state = replace(state, loaded=revision, retry=None)
    return state, ((Ask(revision),) if state.journal.trial else ())


def _not_loaded(state: State, revision: Revision, reason: str) -> Step:
    if revision != state.enforced:
        return state, ()
    if state.journal.trial is not None and state.loaded != revision:
        return _fail(state, reason)
    told = () if state.retry is not None else (Tell(Kind.NOT_LOADED, f"{revision}: {reason}"),)
    return replace(state, loaded=None, retry=state.now + RETRY_SECONDS), told


def _lost(state: State, revision: Revision) -> Step:
    if revision != state.enforced:
        return state, ()
    if state.journal.trial is not None:
        return _fail(state, f"{revision} cannot be read from the disk")
    journal = replace(state.journal, committed=CLOSED, failure=None)
    told = Tell(Kind.LOST, f"{revision} cannot be read from the disk; it enforces {CLOSED} until it is compiled again")
    return replace(state, journal=journal, loaded=None), (Keep(journal, needed=False), Load(CLOSED), told)


def _not_kept(state: State, reason: str) -> Step:
    told = () if state.pause > state.now - 2 * RETRY_SECONDS else (Tell(Kind.NOT_KEPT, f"the disk fails: {reason}"),)
    state = replace(state, pause=state.now + RETRY_SECONDS)
    trial = state.journal.trial
    return state, (*told, *((Ask(trial.revision),) if trial is not None and state.loaded == trial.revision else ()))


def _reached(state: State, revision: Revision) -> Step:
    trial = state.journal.trial
    if trial is None or trial.revision != revision or state.loaded != revision:
        return state, ()
    if state.now >= trial.deadline:
        return _fail(state, "a controller was reached too late")
    journal = replace(state.journal, committed=revision, trial=None, failure=None)
    state = replace(state, journal=journal)
    return state, (Keep(journal), Tell(Kind.CONFIRMED, f"{revision} is confirmed"), Prune(_kept(state)))


def _passed(state: State, hindrance: str) -> Step:
    trial = state.journal.trial
    if trial is not None and state.now >= trial.deadline:
        seconds = state.confirm_seconds
        return _fail(state, hindrance or f"no controller was reached within {seconds:g} s")
    state, effects = _advance(state)
    if not effects and state.retry is not None and state.now >= state.retry:
        # Still to be retried until it is told that it was loaded.
        state = replace(state, retry=state.now + RETRY_SECONDS)
        effects = (Load(state.enforced),)
    return state, effects


def _advance(state: State) -> Step:
    """Put on trial what is prepared, unless something is on trial already, or this failed a moment ago."""
    begins = _begins(state)
    if state.prepared is None or begins is None or state.now < begins:
        return state, ()
    journal = replace(state.journal, trial=Trial(state.prepared, state.now + state.confirm_seconds))
    state = replace(state, journal=journal, loaded=None, retry=None)
    told = Tell(Kind.LOADED, f"{journal.enforced} is on trial for {state.confirm_seconds:g} s")
    return state, (Keep(journal), Load(journal.enforced), told)


def _begins(state: State) -> float | None:
    """When what is prepared may be put on trial; None if not at all, or not before something else happens."""
    if state.prepared in (None, state.journal.committed) or state.journal.trial is not None:
        return None
    failure = state.journal.failure
    if failure is None or failure.revision != state.prepared:
        return state.pause
    return max(failure.again, state.pause) if failure.attempts < ATTEMPTS else None


def _fail(state: State, reason: str) -> Step:
    """Take back what is on trial."""
    journal = state.journal
    assert journal.trial is not None
    revision, before = journal.trial.revision, journal.failure
    attempts = before.attempts + 1 if before is not None and before.revision == revision else 1
    wait = AGAIN_SECONDS[min(attempts, len(AGAIN_SECONDS)) - 1]
    journal = replace(journal, trial=None, failure=Failure(revision, attempts, state.now + wait, reason))
    last = "; it is not tried again" if attempts >= ATTEMPTS else f"; it is tried again in {wait:g} s"
    told = Tell(Kind.ROLLED_BACK, f"{revision} was taken back, {journal.committed} holds: {reason}{last}")
    state = replace(state, journal=journal, loaded=None, retry=None)
    # A disk that fails here still says that this is on trial, and until when: the next start takes it back as well.
    return state, (Keep(journal, needed=False), Load(journal.committed), told)


def _kept(state: State) -> frozenset[Revision]:
    trial = state.journal.trial
    found = {state.journal.committed, trial.revision if trial else None, state.prepared}
    return frozenset(revision for revision in found if revision is not None)
