"""The drill: declared flows used, every attack tried, with everything on and with each failure in turn, then restored.

1. The lab must be up and hold the compiled rules, or there is nothing to learn from it.
2. Every declared flow is used, with each router of every site active in turn.
3. Every attack with everything on.
4. Every failure in turn: the mechanism is taken away, what it can affect is attacked, the mechanism is put back.
5. The flows and the attacks once more, and the rules are read back: all must be as it was.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ringfort.drill import controls, failures
from ringfort.drill.attacks import SENTENCES, Attack, Probe
from ringfort.drill.calling import Caller
from ringfort.drill.calls import declared_calls, stolen_calls
from ringfort.drill.cells import EVERYTHING_ON, NO_TRANSLATION, RESTORED, UNFINISHED, Cell
from ringfort.drill.counters import Counters
from ringfort.drill.failures import Failure, mutual_services
from ringfort.drill.frames import Kind
from ringfort.drill.judging import Judge, judge
from ringfort.drill.result import Delivered, Disagreement, DrillResult, Exercise, Observation
from ringfort.drill.taken_controller import controller_believed, controller_taken_over
from ringfort.drill.targets import Rows, Targets, quick_scopes
from ringfort.drill.volley import Outcome, Range
from ringfort.drill.wire import Wire
from ringfort.environment.model import Environment, Service, Tls
from ringfort.environment.topology import Device, DeviceKind, devices
from ringfort.errors import RingfortError
from ringfort.gateway import haproxy
from ringfort.lab.changes import Changes
from ringfort.lab.lab import Lab
from ringfort.proof.verdict import Verdict

_PUBLISHED = (Attack.INTERNET_CLOSED, Attack.INTERNET_BOGON)
"""Attacks on published addresses."""

COMPARED_OF = 3
"""Under a failure, one attack out of so many is compared with the proof packet by packet, another one each time."""

Progress = Callable[[int, int, str], None]
"""Told the steps done, the steps in all, and what comes now."""


def _silent(_done: int, _all: int, _words: str) -> None:
    return


def drill(
    lab: Lab, verdict: Verdict | None = None, *, only: Sequence[str] | None = None, progress: Progress = _silent
) -> DrillResult:
    """Run the whole drill on a running lab. Whatever happens, the lab is mended at the end.

    Args:
        verdict: what the proof says of the rules that are loaded; without it the promises are the measure.
        only: names or kinds of failures to drill; all when None.

    Raises:
        RingfortError: the lab is not up or not as compiled, or there is no such failure.
    """
    chosen = _chosen(lab.environment, only)
    with lab.locked():
        refuse_unfit(lab)
        with _tools(lab) as tools:
            return _Drill(lab, tools, judge(lab, verdict), progress, len(chosen)).run(chosen)


def quick(
    lab: Lab, verdict: Verdict | None = None, progress: Progress = _silent, *, as_is: bool = False
) -> DrillResult:
    """A short drill, everything on: each flow once, and attacks from one host of each segment. A second or two.

    Args:
        verdict: what the proof says of the rules that are loaded; without it the promises are the measure.
        as_is: drill rules that are not the compiled ones too. Nothing is changed, so nothing is mended either.

    Raises:
        RingfortError: the lab is not up or not as compiled.
    """
    with lab.locked():
        refuse_unfit(lab, as_is=as_is)
        with _tools(lab) as tools:
            return _Drill(lab, tools, judge(lab, verdict), progress, 0).quick()


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
            f"the running lab of {name!r} is not what its file says: {_in_short(changes)}",
            "run `ringfort up` to mend it, or drill it as it is with --quick --as-is",
        )


def _in_short(changes: Changes) -> str:
    """What differs, in a few words."""
    different = [*changes.created, *changes.removed, *changes.loaded, *changes.wired]
    if changes.services not in ("kept", "none"):
        different.append("its services")
    more = f" and {len(different) - 4} more" if len(different) > 4 else ""
    return ", ".join(different[:4]) + more + " would change" if different else "keys are missing"


def _chosen(environment: Environment, only: Sequence[str] | None) -> tuple[Failure, ...]:
    every = tuple(failures.failures(environment))
    if only is None:
        return every
    known = {str(failure) for failure in every} | {failure.kind for failure in every}
    for name in only:
        if name not in known:
            raise RingfortError(
                "unknown-failure",
                f"there is no failure {name!r} in {environment.name!r}",
                f"a kind ({', '.join(dict.fromkeys(failure.kind for failure in every))}) or one of it (KIND:NAME)",
            )
    return tuple(failure for failure in every if str(failure) in only or failure.kind in only)


@dataclass(frozen=True, slots=True)
class _Tools:
    wire: Wire
    range: Range
    caller: Caller


@contextmanager
def _tools(lab: Lab) -> Iterator[_Tools]:
    _allow_many_sockets()
    with ExitStack() as stack:
        wire = stack.enter_context(Wire(lab))
        counters = stack.enter_context(Counters(lab, devices(lab.environment)))
        yield _Tools(wire, Range(lab, wire, counters), Caller(lab))


def _allow_many_sockets() -> None:
    """Raise the soft limit on open files to the hard one: nine sockets for each device are soon more than 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Drill:
    def __init__(self, lab: Lab, tools: _Tools, judge: Judge, progress: Progress, failures_number: int) -> None:
        self._lab, self._tools, self._judge, self._progress = lab, tools, judge, progress
        self._environment = lab.environment
        self._targets = Targets(lab.environment)
        self._cells: dict[tuple[Attack, str], Outcome] = {}
        self._failures: list[str] = []
        self._exercises: list[Exercise] = []
        self._observations: list[Observation] = []
        self._delivered: list[Delivered] = []
        self._disagreements: list[Disagreement] = []
        self._skipped = self._compared = 0
        self._begin = time.monotonic()
        self._done, self._steps = 0, failures_number + 5

    # --- the plan ---------------------------------------------------------------------------------------------------

    def run(self, chosen: Sequence[Failure]) -> DrillResult:
        """The whole drill."""
        before = self._lab.active()
        self._lab.reset()
        try:
            self._exercise_on_every_router()
            self._step("every attack, with everything on")
            self._attack(None, EVERYTHING_ON)
            self._step("scan detection and connection limits")
            self._observations += controls.observe(self._lab, self._tools.range, self._tools.caller)
            for failure in chosen:
                self._step(f"without {failure}")
                self._fail(failure)
        finally:
            self._reactivate(before)
            self._lab.reset()
        self._step("restored: every attack and every flow once more")
        self._attack(None, RESTORED)
        self._exercise(RESTORED)
        if any(failure.kind == failures.CONTROLLER for failure in chosen):
            self._observations += controller_believed(self._lab)
        self._check_restored()
        return self._result()

    def quick(self) -> DrillResult:
        """The short form."""
        self._step("every flow once")
        self._exercise(EVERYTHING_ON, sample=True)
        self._step("attacks from one host of each segment")
        self._failures.append(EVERYTHING_ON)
        self._fire(self._targets.rows(quick_scopes(self._environment)), None, EVERYTHING_ON)
        return self._result()

    def _step(self, words: str) -> None:
        self._progress(self._done, self._steps, words)
        self._done += 1

    # --- declared flows ---------------------------------------------------------------------------------------------

    def _exercise_on_every_router(self) -> None:
        """Every flow, with the first router of every site active, then with the second."""
        before = self._lab.active()
        try:
            for number in range(max((len(site.routers) for site in self._environment.sites.values()), default=1)):
                for name, site in self._environment.sites.items():
                    self._activate(name, site.routers[min(number, len(site.routers) - 1)])
                active = ", ".join(self._lab.active().values())
                self._step(f"every declared flow, with {active} active")
                self._exercise(f"{active} active")
        finally:
            self._reactivate(before)

    def _exercise(self, situation: str, *, sample: bool = False) -> None:
        begin = time.monotonic()
        answers = self._tools.caller.make(list(declared_calls(self._environment, sample=sample)))
        # Once more, alone: a busy machine may have been too slow for one of hundreds at a time.
        again = self._tools.caller.make([answer.call for answer in answers if not answer.admitted])
        failed = [answer for answer in again if not answer.admitted]
        for answer in failed:
            if self._judge.proves_open:
                self._disagreements.append(
                    Disagreement("declared flow", situation, str(answer.call), "every flow is possible", answer.detail)
                )
        words = tuple(f"{answer.call}: {answer.detail}" for answer in failed)
        seconds = time.monotonic() - begin
        self._exercises.append(Exercise(situation, len(answers), len(answers) - len(failed), words, seconds))

    # --- attacks ----------------------------------------------------------------------------------------------------

    def _attack(self, failure: Failure | None, situation: str) -> None:
        """Fire everything that the failure can affect."""
        self._failures.append(situation)
        self._tools.range.situation_changed()
        rows = self._targets.rows(failures.scopes(self._environment, failure))
        if failure is not None and failure.kind != "router-taken-over":
            self._skipped += self._targets.number - sum(map(len, rows.values()))
        self._fire(rows, failure, situation)

    def _fire(self, rows: Rows, failure: Failure | None, situation: str) -> None:
        for number, (attack, probes) in enumerate(rows.items()):
            outcome = self._tools.range.fire(probes)
            self._account(attack, outcome, failure, situation)
            self._cells.setdefault((attack, situation), Outcome()).add(outcome)
            if situation == EVERYTHING_ON or (number + len(self._failures)) % COMPARED_OF == 0:
                self._compare(attack, probes[len(probes) // 2], failure, situation)
        if situation != RESTORED:
            self._send_witnesses(failure, situation)

    def _compare(self, attack: Attack, probe: Probe, failure: Failure | None, situation: str) -> None:
        """Fire one probe by itself: does the mechanism that counted it refuse it first in the proof too?"""
        if not self._judge.follows or (attack in _PUBLISHED and failure is not None):
            return
        expected = self._judge.first_refuser(probe, failure, self._lab.active())
        if not expected or expected.startswith("identity:"):
            return  # not told; or a matter of handshakes, which have rows of their own
        outcome = self._tools.range.fire([probe])
        self._compared += 1
        if expected not in outcome.refused_by:
            seen = ", ".join(outcome.refused_by) or ("it got through" if outcome.delivered else "nobody counted it")
            words = f"first refused by {expected}"
            self._disagreements.append(Disagreement(attack, situation, str(probe), words, f"refused by: {seen}"))

    def _send_witnesses(self, failure: Failure | None, situation: str) -> None:
        """Send the proof's counterexamples that need just this failure: they must get through."""
        for witness in self._judge.witnesses():
            if witness.failure != ("" if failure is None else str(failure)):
                continue
            outcome = self._tools.range.fire([witness.probe])
            refusers = ", ".join(outcome.refused_by) or "nobody, yet it did not arrive"
            if not outcome.delivered:
                self._disagreements.append(
                    Disagreement(Attack.WITNESS, situation, str(witness.probe), witness.words, f"refused by {refusers}")
                )
            self._account(Attack.WITNESS, outcome, failure, situation)
            self._cells.setdefault((Attack.WITNESS, situation), Outcome()).add(outcome)

    def _account(self, attack: Attack, outcome: Outcome, failure: Failure | None, situation: str) -> None:
        """Decide what a delivered probe means: it got through, or it waits for a handshake that can't be completed."""
        through = []
        for probe, receiver in outcome.delivered:
            service = self._waiting(probe, receiver, failure)
            if service is not None:
                outcome.refused_by[f"{UNFINISHED}:{service.name}"] += 1
            else:
                through.append((probe, receiver))
        outcome.delivered = through
        if failure is not None and failure.kind == "router-filter" and attack in _PUBLISHED and outcome.missing > 0:
            # The published address belongs to nobody once the translation has gone with the filter.
            outcome.refused_by[NO_TRANSLATION] += outcome.missing
        for probe, receiver in through:
            self._got_through(probe, f"the stack of {receiver} took it", failure, situation)

    def _waiting(self, probe: Probe, receiver: Device, failure: Failure | None) -> Service | None:
        """The service that a delivered opening waits at, if it checks identities now."""
        if probe.kind is not Kind.TCP or receiver.kind is not DeviceKind.HOST:
            return None
        for name in self._environment.hosts[receiver.name].services:
            service = self._environment.services[name]
            serves = any(ports.first <= probe.port <= ports.last for ports in service.ports)
            checks = service.tls is Tls.MUTUAL and not _switches_off(failure, name)
            if serves and checks:
                return service
        return None

    def _got_through(self, probe: Probe, evidence: str, failure: Failure | None, situation: str) -> None:
        opinion = self._judge.opinion(probe, failure, self._lab.active())
        self._delivered.append(Delivered(probe.attack, situation, str(probe), evidence, opinion.passes))
        if not opinion.passes:
            self._disagreements.append(Disagreement(probe.attack, situation, str(probe), opinion.words, evidence))

    # --- failures ---------------------------------------------------------------------------------------------------

    def _fail(self, failure: Failure) -> None:
        if failure.kind == "identity-stolen":
            self._steal(failure)
            return
        if failure.kind == failures.CONTROLLER:
            self._failures.append(str(failure))
            self._observations += controller_taken_over(self._lab)
            return
        if failure.kind in ("router-filter", "router-taken-over"):
            self._activate(self._environment.routers[failure.subject].site, failure.subject)
        segment = failure.subject if failure.kind == "port-security" else ""
        with self._lab.without(*failures.mechanisms(self._environment, failure)):
            if segment:
                self._tools.range.isolated[segment] = False
            try:
                self._attack(failure, str(failure))
                if failure.kind == "router-taken-over":
                    self._borrow(failure)
            finally:
                if segment:
                    self._tools.range.isolated[segment] = True

    def _steal(self, failure: Failure) -> None:
        """Use the keys of one holder from elsewhere."""
        self._failures.append(str(failure))
        outcome = self._cells.setdefault((Attack.STOLEN_KEYS, str(failure)), Outcome())
        before = controls.identity_refusals(self._lab)
        answers = self._tools.caller.make(list(stolen_calls(self._environment, failure.subject)))
        for answer in answers:
            outcome.sent += 1
            if answer.admitted:
                self._admitted(
                    Attack.STOLEN_KEYS, failure, f"{answer.call} with the keys of {failure.subject}", answer.detail
                )
        self._count_identity(outcome, before)

    def _borrow(self, failure: Failure) -> None:
        """Complete handshakes with borrowed addresses from a router that has been taken over."""
        outcome = self._cells.setdefault((Attack.ROUTER_HANDSHAKE, str(failure)), Outcome())
        before = controls.identity_refusals(self._lab)
        for attempt in controls.borrowed_attempts(self._lab, failure.subject):
            outcome.sent += 1
            if attempt.admitted:
                self._admitted(Attack.ROUTER_HANDSHAKE, failure, attempt.words, attempt.detail)
            elif "ALERT" in attempt.detail and attempt.service not in mutual_services(self._environment):
                # A controller keeps no count of handshakes; its alert came under the keys of the handshake itself.
                outcome.refused_by[f"identity:{attempt.service}"] += 1
                outcome.reasons[haproxy.HANDSHAKE] += 1
        self._count_identity(outcome, before)
        if not any(seen.name == "control" for seen in self._observations):
            control = controls.two_failures(self._lab, failure.subject)
            self._observations += [control] if control is not None else []

    def _admitted(self, attack: Attack, failure: Failure, words: str, evidence: str) -> None:
        self._delivered.append(Delivered(attack, str(failure), words, evidence, predicted=False))
        proof = "the service refuses a caller whose certificate names another address"
        self._disagreements.append(Disagreement(attack, str(failure), words, proof, evidence))

    def _count_identity(self, outcome: Outcome, before: Counter[tuple[str, str]]) -> None:
        """Add what the services' own counters say."""
        for (service, reason), number in (controls.identity_refusals(self._lab) - before).items():
            outcome.refused_by[f"identity:{service}"] += number
            outcome.reasons[reason] += number

    # --- routers and the end ----------------------------------------------------------------------------------------

    def _activate(self, site: str, router: str) -> None:
        if self._lab.active()[site] != router:
            self._lab.activate(site, router)
            self._tools.range.situation_changed()

    def _reactivate(self, before: Mapping[str, str]) -> None:
        for site, router in before.items():
            self._activate(site, router)

    def _check_restored(self) -> None:
        changes = self._lab.up(dry_run=True)
        words = "the rules, ports and checks are as they were" if changes.is_nothing else _in_short(changes)
        self._observations.append(Observation("restored", changes.is_nothing, words))

    def _result(self) -> DrillResult:
        cells = tuple(
            Cell(
                attack, situation, outcome.sent, dict(outcome.refused_by), len(outcome.delivered), dict(outcome.reasons)
            )
            for (attack, situation), outcome in self._cells.items()
        )
        missing = sum(cell.unexplained for cell in cells)
        words = (
            "each probe was counted by what refused it" if not missing else f"{missing} probes were counted by nobody"
        )
        self._observations.append(Observation("accounting", not missing, words))
        if self._compared:
            words = (
                f"{self._compared} probes fired by themselves were refused by the mechanism that the proof names first"
            )
            held = not any("first refused by" in found.proof for found in self._disagreements)
            self._observations.append(Observation("agreement", held, words))
        background = sum(outcome.background for outcome in self._cells.values())
        notes: tuple[str, ...] = (
            (f"{background} packets that were no probes met a counter and were taken out",) if background else ()
        )
        if self._targets.is_sample:
            notes += ("each host attacked its own segment and a spread of the others, because there are many",)
        self._progress(self._steps, self._steps, "done")
        return DrillResult(
            self._environment.name,
            dict(SENTENCES),
            tuple(self._failures),
            cells,
            tuple(self._exercises),
            tuple(self._observations),
            tuple(self._delivered),
            tuple(self._disagreements),
            self._skipped,
            time.monotonic() - self._begin,
            notes,
        )


def _switches_off(failure: Failure | None, service: str) -> bool:
    """Whether a failure takes a service's identity check away."""
    if failure is None:
        return False
    return failure.kind == "authority" or (failure.kind == "identity" and failure.subject == service)
