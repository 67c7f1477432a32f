"""The drill: declared flows used, every attack tried, with everything on and with each failure in turn, then restored.

1. The lab must be up and hold the compiled rules, or there is nothing to learn from it.
2. Every declared flow is used, with each router of every site active in turn.
3. Every attack with everything on.
4. Every failure in turn: the mechanism is taken away, what it can affect is attacked, the mechanism is put back.
5. The flows and the attacks once more, and the rules are read back: all must be as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from ringfort.drill import controls, failures, guest_links
from ringfort.drill.assault import Assault
from ringfort.drill.calls import declared_calls, played
from ringfort.drill.cells import EVERYTHING_ON, RESTORED
from ringfort.drill.failures import Failure
from ringfort.drill.findings import Findings
from ringfort.drill.fitness import in_short, refuse_unfit
from ringfort.drill.handshakes import Handshakes
from ringfort.drill.judging import Judge, judge
from ringfort.drill.result import Disagreement, DrillResult, Exercise, Observation
from ringfort.drill.taken_controller import controller_believed, controller_taken_over
from ringfort.drill.targets import quick_scopes
from ringfort.drill.tools import Tools, tools
from ringfort.environment.model import Environment
from ringfort.environment.topology import instances
from ringfort.errors import RingfortError
from ringfort.lab import occupied
from ringfort.lab.lab import Lab
from ringfort.proof.verdict import Verdict

IN_USE = "places in use"

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
        with tools(lab) as opened:
            return _Drill(lab, opened, judge(lab, verdict), progress, len(chosen)).run(chosen)


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
        with tools(lab) as opened:
            return _Drill(lab, opened, judge(lab, verdict), progress, 0).quick()


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


class _Drill:
    def __init__(self, lab: Lab, tools: Tools, judge: Judge, progress: Progress, failures_number: int) -> None:
        self._lab, self._tools, self._judge, self._progress = lab, tools, judge, progress
        self._environment = lab.environment
        self._findings = Findings()
        self._assault = Assault(lab, tools.range, judge, self._findings)
        self._handshakes = Handshakes(lab, tools.caller, self._findings)
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
            self._assault.attack(None, EVERYTHING_ON)
            self._step("scan detection and connection limits")
            self._findings.observations += controls.observe(self._lab, self._tools.range, self._tools.caller)
            for failure in chosen:
                self._step(f"without {failure}")
                self._fail(failure)
        finally:
            self._reactivate(before)
            self._lab.reset()
        self._step("restored: every attack and every flow once more")
        self._assault.attack(None, RESTORED)
        self._exercise(RESTORED)
        if any(failure.kind == failures.CONTROLLER for failure in chosen):
            self._findings.observations += controller_believed(self._lab)
        self._check_restored()
        return self._result()

    def quick(self) -> DrillResult:
        """The short form."""
        self._step("every flow once")
        self._exercise(EVERYTHING_ON, sample=True)
        self._step("attacks from one host of each segment")
        rows = self._assault.targets.rows(quick_scopes(self._environment))
        self._assault.fire(rows, None, EVERYTHING_ON)
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
        calls, left = played(declared_calls(self._environment, sample=sample), occupied.ports(self._environment))
        self._leave_out(left)
        answers = self._tools.caller.make(calls)
        # Once more, alone: a busy machine may have been too slow for one of hundreds at a time.
        again = self._tools.caller.make([answer.call for answer in answers if not answer.admitted])
        failed = [answer for answer in again if not answer.admitted]
        for answer in failed:
            if self._judge.proves_open:
                self._findings.disagreements.append(
                    Disagreement("declared flow", situation, str(answer.call), "every flow is possible", answer.detail)
                )
        words = tuple(f"{answer.call}: {answer.detail}" for answer in failed)
        seconds = time.monotonic() - begin
        self._findings.exercises.append(Exercise(situation, len(answers), len(answers) - len(failed), words, seconds))

    def _leave_out(self, left: Mapping[str, Iterable[int]]) -> None:
        """Say once which calls aren't made because customers' instances are there."""
        if left and all(seen.name != IN_USE for seen in self._findings.observations):
            where = ", ".join(f"{place} {'/'.join(map(str, sorted(ports)))}" for place, ports in left.items())
            words = f"customers' instances have these ports, so that no declared call was made to them: {where}"
            self._findings.observations.append(Observation(IN_USE, True, words))

    # --- failures ---------------------------------------------------------------------------------------------------

    def _fail(self, failure: Failure) -> None:
        if failure.kind == "identity-stolen":
            self._handshakes.steal(failure)
            return
        self._handshakes.others_call()
        if failure.kind == failures.CONTROLLER:
            self._findings.situations.append(str(failure))
            self._findings.observations += controller_taken_over(self._lab, self._tools.netfilter)
            return
        if failure.kind in ("router-filter", "router-taken-over"):
            self._activate(self._environment.routers[failure.subject].site, failure.subject)
        segment = failure.subject if failure.kind == "port-security" else ""
        with self._lab.without(*failures.mechanisms(self._environment, failure)):
            if segment:
                self._tools.range.isolated[segment] = False
            if failure.kind == failures.ESCAPED:
                self._tools.wire.escaped = frozenset(instances(self._environment)[failure.subject])
            try:
                self._assault.attack(failure, str(failure))
                self._link(failure)
                if failure.kind == "router-taken-over":
                    self._handshakes.borrow(failure)
            finally:
                self._tools.wire.escaped = frozenset()
                if segment:
                    self._tools.range.isolated[segment] = True

    def _link(self, failure: Failure) -> None:
        """What a guest says below IP, from inside, or past its sandbox."""
        escaped = failure.kind == failures.ESCAPED
        if escaped or failure.kind == "instance-taken-over":
            guest = instances(self._environment)[failure.subject][0] if escaped else failure.subject
            seen = guest_links.observe(self._lab, guest, escaped=escaped)
            self._findings.observations += [seen] if seen is not None else []

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
        words = "the rules, ports and checks are as they were" if changes.is_nothing else in_short(changes)
        self._findings.observations.append(Observation("restored", changes.is_nothing, words))

    def _result(self) -> DrillResult:
        self._progress(self._steps, self._steps, "done")
        seconds = time.monotonic() - self._begin
        return self._findings.result(self._environment.name, seconds, is_sample=self._assault.targets.is_sample)
