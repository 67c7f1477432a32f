"""The node's machine: whatever happens, and whenever it dies, the kernel holds the old rules or the new ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ringfort.node.journal import CLOSED, Failure, Journal, Revision, Trial
from ringfort.node.machine import (
    AGAIN_SECONDS,
    ATTEMPTS,
    CONFIRM_SECONDS,
    RETRY_SECONDS,
    Ask,
    Drifted,
    Effect,
    Event,
    Keep,
    Kind,
    Load,
    Loaded,
    Lost,
    NotKept,
    NotLoaded,
    Passed,
    Prepared,
    Prune,
    Reached,
    State,
    Tell,
    begin,
    step,
    wake,
)

ONE, TWO, THREE = (Revision(number, f"digest-{number}") for number in (1, 2, 3))


def settled(revision: Revision = ONE) -> State:
    return State(Journal(revision, "boot"), 100.0, loaded=revision, prepared=revision)


def on_trial(revision: Revision = TWO) -> State:
    state, _ = step(settled(), Prepared(revision), 100.0)
    state, _ = step(state, Loaded(revision), 101.0)
    return state


def kinds(effects: tuple[Effect, ...]) -> list[Kind]:
    return [effect.kind for effect in effects if isinstance(effect, Tell)]


def loads(effects: tuple[Effect, ...]) -> list[Revision]:
    return [effect.revision for effect in effects if isinstance(effect, Load)]


def test_before_the_first_environment_everything_is_refused_but_the_controllers() -> None:
    state, effects = begin(None, "boot", 5.0)
    assert (state.enforced, loads(effects), kinds(effects)) == (CLOSED, [CLOSED], [Kind.CLOSED])


def test_a_new_revision_is_noted_on_the_disk_before_it_is_loaded() -> None:
    state, effects = step(settled(), Prepared(TWO), 100.0)
    keep, load, told = effects
    assert keep == Keep(Journal(ONE, "boot", Trial(TWO, 100.0 + CONFIRM_SECONDS)))
    assert (load, kinds((told,))) == (Load(TWO), [Kind.LOADED])
    assert wake(state) == 100.0 + CONFIRM_SECONDS


def test_what_was_loaded_is_kept_only_when_a_controller_answers() -> None:
    state, effects = step(step(settled(), Prepared(TWO), 100.0)[0], Loaded(TWO), 101.0)
    assert effects == (Ask(TWO),)
    state, effects = step(state, Reached(TWO), 102.0)
    assert effects[0] == Keep(Journal(TWO, "boot"))
    assert kinds(effects) == [Kind.CONFIRMED]
    assert Prune(frozenset({TWO})) in effects
    assert wake(state) is None


def test_an_answer_to_an_earlier_question_confirms_nothing() -> None:
    state = on_trial()
    assert step(state, Reached(ONE), 102.0)[0].journal == state.journal
    not_yet_loaded, _ = step(settled(), Prepared(TWO), 100.0)
    assert step(not_yet_loaded, Reached(TWO), 102.0)[0].journal.trial is not None


def test_without_a_controller_the_rules_before_come_back_within_thirty_seconds() -> None:
    state = on_trial()
    deadline = wake(state)
    assert deadline is not None
    assert deadline <= 100.0 + 30.0
    state, effects = step(state, Passed(), deadline)
    assert (loads(effects), kinds(effects)) == ([ONE], [Kind.ROLLED_BACK])
    assert effects[0] == Keep(state.journal, needed=False)
    assert state.journal.trial is None


def test_an_answer_that_comes_too_late_does_not_count() -> None:
    _, effects = step(on_trial(), Reached(TWO), 100.0 + CONFIRM_SECONDS)
    assert kinds(effects) == [Kind.ROLLED_BACK]


def test_what_the_kernel_would_not_take_is_taken_back_at_once() -> None:
    state, _ = step(settled(), Prepared(TWO), 100.0)
    state, effects = step(state, NotLoaded(TWO, "no memory"), 101.0)
    assert (loads(effects), kinds(effects)) == ([ONE], [Kind.ROLLED_BACK])


def test_what_failed_is_tried_again_a_few_times_and_then_no_more() -> None:
    state, now = on_trial(), 101.0
    for attempt in range(1, ATTEMPTS + 1):
        state, effects = step(state, NotLoaded(TWO, "no"), now) if attempt > 1 else step(state, Passed(), now + 60)
        now = max(now, state.now)
        assert kinds(effects) == [Kind.ROLLED_BACK]
        if attempt < ATTEMPTS:
            again = wake(state)
            assert again == now + AGAIN_SECONDS[attempt - 1]
            assert step(state, Passed(), again - 1)[1] == ()
            assert step(state, Prepared(TWO), again - 1)[1] == ()
            state, _ = step(state, Prepared(TWO), again - 1)
            state, effects = step(state, Passed(), again)
            assert loads(effects) == [TWO]
            now = again
    assert wake(state) is None
    assert step(state, Passed(), now + 1e6)[1] == ()
    assert loads(step(state, Prepared(THREE), now)[1]) == [THREE]


def test_a_newer_revision_waits_for_the_end_of_a_trial() -> None:
    state, effects = step(on_trial(), Prepared(THREE), 102.0)
    assert effects == ()
    succeeded, _ = step(state, Reached(TWO), 103.0)
    assert loads(step(succeeded, Passed(), 103.0)[1]) == [THREE]
    failed, effects = step(state, Passed(), 200.0)
    assert loads(effects) == [ONE]
    assert loads(step(failed, Passed(), 200.0)[1]) == [THREE]


def test_the_same_revision_again_is_no_news() -> None:
    assert step(settled(), Prepared(ONE), 100.0)[1] == ()


@pytest.mark.parametrize(("now", "boot", "expected"), [(110.0, "boot", TWO), (130.0, "boot", ONE), (3.0, "next", ONE)])
def test_a_node_that_died_during_a_trial_goes_on_with_it_or_takes_it_back(
    now: float, boot: str, expected: Revision
) -> None:
    journal = on_trial().journal
    state, effects = begin(journal, boot, now)
    assert loads(effects) == [expected]
    assert state.enforced == expected


def test_a_node_that_was_settled_enforces_the_same_after_its_restart_without_asking_anybody() -> None:
    assert begin(Journal(TWO, "boot"), "boot", 500.0)[1] == (Load(TWO),)
    assert loads(begin(Journal(TWO, "boot"), "next", 5.0)[1]) == [TWO]


def test_a_failure_before_a_boot_does_not_wait_for_the_clock_of_that_boot() -> None:
    state, _ = begin(Journal(ONE, "boot", failure=Failure(TWO, 1, 9e9, "no")), "next", 5.0)
    assert loads(step(state, Prepared(TWO), 6.0)[1]) == [TWO]


def test_what_cannot_be_read_from_the_disk_closes_everything_until_it_is_compiled_again() -> None:
    state, effects = step(settled(), Lost(ONE), 100.0)
    assert CLOSED in loads(effects)
    assert Kind.LOST in kinds(effects)
    state, _ = begin(Journal(ONE, "boot"), "boot", 100.0)
    state, effects = step(state, Lost(ONE), 100.0)
    assert loads(effects) == [CLOSED]
    assert loads(step(state, Prepared(ONE), 101.0)[1]) == [ONE]


def test_a_trial_that_cannot_be_read_from_the_disk_is_taken_back() -> None:
    assert loads(step(on_trial(), Lost(TWO), 102.0)[1]) == [ONE]


def test_drift_is_repaired_and_told() -> None:
    _, effects = step(settled(), Drifted(("host:a",), "somebody added a rule"), 100.0)
    assert effects == (Load(ONE, ("host:a",)), Tell(Kind.DRIFT, "somebody added a rule"))
    assert step(on_trial(), Drifted(("host:a",), "x"), 102.0)[1][0] == Load(TWO, ("host:a",))


def test_what_will_not_load_is_tried_for_ever_and_told_once() -> None:
    state, effects = step(settled(), NotLoaded(ONE, "no namespace"), 100.0)
    assert kinds(effects) == [Kind.NOT_LOADED]
    assert wake(state) == 100.0 + RETRY_SECONDS
    for now in (102.0, 104.0, 106.0):
        state, effects = step(state, Passed(), now)
        assert effects == (Load(ONE),)
        state, effects = step(state, NotLoaded(ONE, "no namespace"), now)
        assert effects == ()
    state, _ = step(state, Loaded(ONE), 107.0)
    assert wake(state) is None


def test_what_the_disk_would_not_keep_has_not_happened() -> None:
    state, effects = step(settled(), NotKept("no space"), 100.0)
    assert kinds(effects) == [Kind.NOT_KEPT]
    state, effects = step(state, Prepared(TWO), 100.5)
    assert effects == ()
    again = wake(state)
    assert again == 100.0 + RETRY_SECONDS
    assert loads(step(state, Passed(), again)[1]) == [TWO]
    assert step(on_trial(), NotKept("no space"), 103.0)[1] == (
        Tell(Kind.NOT_KEPT, "the disk fails: no space"),
        Ask(TWO),
    )


def test_a_journal_survives_its_text() -> None:
    for journal in (
        Journal(CLOSED, "b"),
        Journal(ONE, "b", Trial(TWO, 5.5)),
        Journal(ONE, "b", None, Failure(TWO, 2, 7.25, "why")),
    ):
        assert Journal.from_json(journal.to_json()) == journal


DEVICES = ("router:r", "host:a", "host:b")


class World(RuleBasedStateMachine):
    """A node with its kernel, its disk and its controller; it may die between any two things that it does."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.boot = 10.0, 0
        self.kernel: dict[str, Revision | None] = dict.fromkeys(DEVICES)
        self.disk: Journal | None = None
        self.files: set[Revision] = set()
        self.versions = 0
        self.answers = True
        self.refuses: str | None = None  # a device that takes nothing
        self.disk_fails = False
        self.asked: Revision | None = None
        self.state: State | None = None
        self.patience = 0
        self.stuck: set[str] = set()
        """Devices that did not take what they were given last."""
        self._start()

    # What the shell does; ``patience`` is how many single effects it survives.

    def _start(self, patience: int | None = None) -> None:
        self.asked = None
        state, effects = begin(self.disk, f"boot-{self.boot}", self.now)
        self._perform(state, state, effects, patience)

    def _happens(self, event: Event, patience: int | None = None) -> None:
        if self.state is not None:
            state, effects = step(self.state, event, self.now)
            self._perform(self.state, state, effects, patience)
        if self.state is not None and not isinstance(event, Passed):
            due = wake(self.state)
            if due is not None and due <= self.now:
                self._happens(Passed(), self.patience)

    def _perform(self, before: State, after: State, effects: tuple[Effect, ...], patience: int | None) -> None:
        self.state = after
        self.patience = 1_000_000 if patience is None else patience
        answers: list[Event] = []
        for effect in effects:
            if not self._lives():
                return
            if isinstance(effect, Keep) and self.disk_fails:
                if effect.needed:
                    self.state = before
                    answers = [NotKept("the disk fails")]
                    break
            elif isinstance(effect, Load):
                answers += self._load(effect)
            else:
                self._do(effect)
        for answer in answers:
            self._happens(answer, self.patience)

    def _lives(self) -> bool:
        self.patience -= 1
        if self.patience < 0:
            self.state = None
        return self.state is not None

    def _do(self, effect: Effect) -> None:
        if isinstance(effect, Keep):
            self.disk = effect.journal
        elif isinstance(effect, Ask):
            self.asked = effect.revision
        elif isinstance(effect, Prune):
            newest = max(revision.version for revision in effect.keep)
            self.files = {file for file in self.files if file in effect.keep or file.version > newest}

    def _load(self, effect: Load) -> list[Event]:
        if effect.revision != CLOSED and effect.revision not in self.files:
            return [Lost(effect.revision)]
        refused = False
        for device in effect.devices or DEVICES:
            if not self._lives():
                return []
            if device == self.refuses:
                self.stuck.add(device)
                refused = True
            else:
                self.kernel[device] = effect.revision
                self.stuck.discard(device)
        return [NotLoaded(effect.revision, "the kernel refuses") if refused else Loaded(effect.revision)]

    # What may happen.

    @rule(patience=st.none() | st.integers(0, 8))
    def publish(self, patience: int | None) -> None:
        self.versions += 1
        revision = Revision(self.versions, f"d{self.versions}")
        self.files.add(revision)
        self._happens(Prepared(revision), patience)

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0, 26.0, 400.0]), patience=st.none() | st.integers(0, 8))
    def time_passes(self, seconds: float, patience: int | None) -> None:
        self.now += seconds
        self._happens(Passed(), patience)

    @precondition(lambda self: self.answers and self.asked is not None)
    @rule(patience=st.none() | st.integers(0, 8))
    def controller_answers(self, patience: int | None) -> None:
        assert self.asked is not None
        self._happens(Reached(self.asked), patience)

    @rule()
    def controller_comes_or_goes(self) -> None:
        self.answers = not self.answers

    @rule(device=st.sampled_from(DEVICES))
    def somebody_flushes_rules(self, device: str) -> None:
        if self.state is not None:
            self.kernel[device] = None
            self._happens(Drifted((device,), "flushed"))

    @rule(device=st.none() | st.sampled_from(DEVICES))
    def a_device_refuses_or_takes(self, device: str | None) -> None:
        self.refuses = device

    @rule()
    def the_disk_fails_or_works(self) -> None:
        self.disk_fails = not self.disk_fails

    @rule(patience=st.none() | st.integers(0, 8))
    def killed_and_started(self, patience: int | None) -> None:
        self._start(patience)

    @rule()
    def the_machine_is_started_anew(self) -> None:
        self.boot += 1
        self.now = 1.0
        self.kernel = dict.fromkeys(DEVICES)
        self._start()

    # What always holds.

    @invariant()
    def the_kernel_holds_the_old_or_the_new_rules(self) -> None:
        """Also of a node that has died: nothing but what its disk calls committed, on trial, or failed a moment ago."""
        if self.disk is None or self.disk_fails:
            return
        journal = self.disk
        known: set[Revision | None] = {journal.committed, None}
        if journal.trial is not None:
            known.add(journal.trial.revision)
        undone = self.state is None or self.state.retry is not None
        if undone and journal.failure is not None:
            known.add(journal.failure.revision)
        held = {revision for device, revision in self.kernel.items() if device not in self.stuck}
        assert held <= known, (self.kernel, journal)

    @invariant()
    def a_living_node_has_loaded_what_it_should(self) -> None:
        if self.state is None or self.state.retry is not None or self.refuses is not None:
            return
        if self.state.loaded is not None:
            assert set(self.kernel.values()) == {self.state.enforced}

    @invariant()
    def the_disk_knows_what_a_living_node_has_promised(self) -> None:
        if self.state is not None and not self.disk_fails and self.disk is not None and self.disk.trial is not None:
            assert self.state.journal.trial in (self.disk.trial, None)

    @invariant()
    def no_trial_outlives_its_deadline(self) -> None:
        state = self.state
        if state is not None and state.journal.trial is not None:
            assert self.now < state.journal.trial.deadline or state.now < self.now

    @invariant()
    def what_is_committed_was_once_confirmed_or_is_closed(self) -> None:
        if self.state is not None and self.state.journal.committed not in self.files | {CLOSED}:
            raise AssertionError(self.state.journal)

    def teardown(self) -> None:
        """Let all be well: the node then holds what is committed, everywhere."""
        self.refuses, self.disk_fails = None, False
        self._start()
        for _ in range(10):
            self.now += 500.0
            self._happens(Passed())
        assert self.state is not None
        assert set(self.kernel.values()) == {self.state.enforced}
        assert self.disk is not None
        assert replace(self.disk, failure=None).enforced == self.state.enforced


def test_whatever_happens_and_whenever_it_dies_the_kernel_holds_the_old_rules_or_the_new_ones() -> None:
    run_state_machine_as_test(World, settings=settings(max_examples=150, stateful_step_count=30, deadline=None))
