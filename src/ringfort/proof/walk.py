"""The way of packets through the chains of one table at one hook."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from oxidd.bdd import BDDFunction

from ringfort.proof.changes import Changes, State, merge
from ringfort.proof.evaluate import Evaluator, Truth
from ringfort.proof.fields import CT_STATE, CtState
from ringfort.proof.hooks import Hook, overrides
from ringfort.proof.lookups import Lookups
from ringfort.proof.opaque import OpaqueTable
from ringfort.proof.reader import RulesetError
from ringfort.proof.recorder import Recorder
from ringfort.proof.rewrite import Rewriter, translated_mark
from ringfort.proof.ruleset import (
    AnyBit,
    Assign,
    Base,
    Chain,
    Doubt,
    Doubtful,
    Match,
    Outcome,
    Place,
    Rule,
    Statement,
    Table,
    Translate,
    Untrack,
    Verdict,
    VerdictMap,
)
from ringfort.proof.runs import Matches, grouped, plain_outcome

JUMP_DEPTH = 16
"""NFT_JUMP_STACK_SIZE: deeper rulesets cannot be loaded."""


@dataclass(slots=True)
class _Running:
    """A rule being executed: what still matches, and what left it for where."""

    active: list[State]
    through: list[State] = field(default_factory=list)  # to the next rule
    returned: list[State] = field(default_factory=list)  # to the calling chain
    decided: BDDFunction | None = None  # the packets a verdict was, or may have been, applied to

    def decide(self, live: BDDFunction) -> None:
        """A verdict of the rule applies to these packets."""
        self.decided = live if self.decided is None else self.decided | live


class Walk:
    """Executes base chains of one table at one hook.

    Args:
        table: the table.
        hook: where.
        evaluator: for the table's sets, in the space of the packets.
        recorder: gets what rules met.
        opaque: the opaque variables, or None to expand every lookup.
    """

    def __init__(
        self, table: Table, hook: Hook, evaluator: Evaluator, recorder: Recorder, opaque: OpaqueTable | None
    ) -> None:
        self.table = table
        self.hook = hook
        self.evaluator = evaluator
        self.recorder = recorder
        self.lookups = Lookups(table, evaluator, opaque)
        self.rewriter = Rewriter(evaluator)
        self.space = evaluator.space
        self._accepted: list[State] = []
        self._dropped = self.space.false

    # -- chains ------------------------------------------------------------------------------------------------

    def base_chain(self, chain: Chain, states: list[State]) -> tuple[list[State], BDDFunction]:
        """Send packets through a base chain.

        Returns:
            The accepted packets, and those that may be dropped.
        """
        assert chain.base is not None
        self._accepted, self._dropped = [], self.space.false
        bypass: list[State] = []
        if chain.base.kind == "nat":
            states, bypass = self._first_packets(chain.base, states)
        extra = overrides(self.space, self.hook, chain.base)
        states = [State(s.live, Changes({**extra, **s.changes.bits}, s.changes.unknown)) for s in states]
        left = self._chain(chain, merge(self.space, states), 0)
        self._policy(chain, chain.base, left)
        if chain.base.hook in ("ingress", "egress") and self.hook.device and not chain.base.devices:
            # nft 1.0.6 does not list the device: the packet may not meet this chain at all.
            bypass += [_restore(state, extra) for state in states]
            place = Place(chain.family, chain.table, chain.name, 0)
            live = self.space.union(state.live for state in states)
            self.recorder.doubt(place, "its device", ((Doubt.UNKNOWN, "nft did not list the chain's device"),), live)
        return [*bypass, *(_restore(state, extra) for state in self._accepted)], self._dropped

    def _policy(self, chain: Chain, base: Base, left: list[State]) -> None:
        live = self.space.union(state.live for state in left)
        if not live.satisfiable():
            return
        self.recorder.use(Place(chain.family, chain.table, chain.name, 0), live, live)
        self.recorder.policy(chain, base.policy, live)
        if base.policy is Outcome.ACCEPT:
            self._accepted += left
        else:
            self._dropped = self._dropped | live

    def _first_packets(self, base: Base, states: list[State]) -> tuple[list[State], list[State]]:
        # nf_nat_inet_fn: nat chains see the first packet of a tracked connection, until one of them translated it.
        mark = translated_mark(source=base.hook not in ("prerouting", "output"))
        inside: list[State] = []
        outside: list[State] = []
        for state in states:
            vector = state.changes.vector(self.space, CT_STATE)
            assert vector is not None
            new = self.space.between(vector, CtState.NEW, CtState.NEW)
            done = state.changes.bits.get(mark, self.space.false)
            here = new & ~done
            inside.append(State(state.live & here, state.changes))
            outside.append(State(state.live & ~here, state.changes))
        return inside, outside

    def _chain(self, chain: Chain, states: list[State], depth: int) -> list[State]:
        """The states that leave a chain at its end or by ``return``."""
        if depth > JUMP_DEPTH:
            raise RulesetError(f"chains lead more than {JUMP_DEPTH} deep, or in a circle, at {chain.name!r}")
        returned: list[State] = []
        for rules in self._runs(chain):
            states = merge(self.space, states)
            if not states:
                break
            if len(rules) > 1 and all(not s.changes.bits and not s.changes.unknown for s in states):
                states = self._run(rules, states)
                continue
            for rule in rules:
                states, left = self._rule(rule, merge(self.space, states), depth)
                returned += left
        return merge(self.space, [*returned, *states])

    def _runs(self, chain: Chain) -> list[list[Rule]]:
        """The rules, those with the same plain verdict next to each other in one list if nobody wants details."""
        runs: list[list[Rule]] = []
        last: Outcome | None = None
        for rule in chain.rules:
            outcome = None if self.recorder.detailed else plain_outcome(rule)
            if outcome is not None and outcome is last:
                runs[-1].append(rule)
            else:
                runs.append([rule])
            last = outcome
        return runs

    def _run(self, rules: list[Rule], states: list[State]) -> list[State]:
        """Rules with the same verdict at once: their order does not matter."""
        matched = self.space.union(self._matched(rule) for rule in rules)
        through: list[State] = []
        for state in states:
            inside = state.live & matched
            if plain_outcome(rules[0]) is Outcome.ACCEPT:
                self._accepted.append(State(inside, state.changes))
            else:
                self._dropped = self._dropped | inside
            through.append(State(matched.imp_strict(state.live), state.changes))
        return through

    def _matched(self, rule: Rule) -> BDDFunction:
        result = self.space.true
        for statement in reversed(rule.statements):
            if isinstance(statement, Match):
                function = self.evaluator.plainly(statement)
                assert function is not None
                result = function & result
        return result

    def _rule(self, rule: Rule, states: list[State], depth: int) -> tuple[list[State], list[State]]:
        reached = self.space.union(state.live for state in states)
        running = _Running(states)
        matched = reached
        for statement in grouped(rule.statements):
            if isinstance(statement, Verdict | VerdictMap):
                self._decide(rule, statement, running, depth)
            else:
                self._statement(rule, statement, running)
                matched = self.space.union(state.live for state in running.active)
            if not running.active:
                break
        if running.decided is not None:
            matched = running.decided
        elif matched.satisfiable():
            self.recorder.step(rule, "", matched)
        self.recorder.use(rule.place, reached, matched)
        return [*running.through, *running.active], running.returned

    # -- statements --------------------------------------------------------------------------------------------

    def _statement(self, rule: Rule, statement: Matches | Statement, running: _Running) -> None:
        match statement:
            case tuple():
                self._keep(rule, statement, running)
            case Assign() | Translate():
                self._rewrite(rule, statement, running)
            case Untrack():
                untracked = self.space.constant(CtState.UNTRACKED, CT_STATE.width)
                running.active = [
                    State(s.live, s.changes.assign(self.space, CT_STATE, untracked)) for s in running.active
                ]
            case Doubtful():
                self._doubtful(rule, statement, running)

    def _keep(self, rule: Rule, matches: Matches, running: _Running) -> None:
        """Keep what matches; send what does not, or cannot be read, to the next rule."""
        active: list[State] = []
        for state in running.active:
            whole = self._whole(rule, matches, state)
            # The matches of a rule are small sets; the live set may be large: touch it once.
            live = state.live & whole.may
            if live.satisfiable():
                active.append(State(live, state.changes))
            running.through.append(State(whole.must.imp_strict(state.live), state.changes))
        running.active = active

    def _whole(self, rule: Rule, matches: Matches, state: State) -> Truth:
        truths: list[Truth] = []
        plain = self.space.true
        unchanged = not state.changes.bits and not state.changes.unknown
        for match in matches:
            function = self.evaluator.plainly(match) if unchanged and isinstance(match, Match) else None
            if function is not None:
                plain = function & plain
                continue
            truth = self._judge(match, state.changes)
            self._note_doubts(rule, match.text, truth, state)
            truths.append(truth)
        return self.evaluator.both([Truth(plain, plain), *truths])

    def _judge(self, statement: Match | AnyBit, changes: Changes) -> Truth:
        readable, truth = (
            self.lookups.match(statement, changes)
            if isinstance(statement, Match)
            else self.evaluator.any_bit(statement, changes)
        )
        return self.evaluator.both((truth, readable))

    def _note_doubts(self, rule: Rule, text: str, truth: Truth, state: State) -> None:
        if truth.doubts:
            torn = state.live & truth.may & ~truth.must
            if torn.satisfiable():
                self.recorder.doubt(rule.place, text, truth.doubts, torn)

    # -- verdicts ----------------------------------------------------------------------------------------------

    def _decide(self, rule: Rule, statement: Verdict | VerdictMap, running: _Running, depth: int) -> None:
        if isinstance(statement, Verdict):
            deciding: list[State] = []
            for state in running.active:
                holds = self.evaluator.conditions(statement.conditions, statement.universes, state.changes)
                deciding.append(State(state.live & holds.may, state.changes))
                running.through.append(State(state.live & ~holds.must, state.changes))
            running.active = []
            self._apply(rule, statement, deciding, running, depth)
            return
        states, running.active = running.active, []
        running.decide(self.space.false)
        for state in states:
            self._verdict_map(rule, statement, state, running, depth)

    def _verdict_map(self, rule: Rule, statement: VerdictMap, state: State, running: _Running, depth: int) -> None:
        values = [self.evaluator.value(part, state.changes) for part in statement.key]
        readable = self.evaluator.both(value.readable for value in values)
        self._note_doubts(rule, statement.text, readable, state)
        found = self.space.false
        for verdict, truth in self.lookups.choices(statement, state.changes):
            whole = self.evaluator.both((readable, truth))
            self._note_doubts(rule, statement.text, whole, state)
            found = found | truth.must
            if verdict is not None:
                self._apply(rule, verdict, [State(state.live & whole.may, state.changes)], running, depth)
            else:
                self._open_fate(State(state.live & whole.may, state.changes), running)
        rest = self.lookups.catch_all(statement)
        left = state.live & readable.may & ~found
        if rest is not None:
            self._apply(rule, rest, [State(left, state.changes)], running, depth)
            running.through.append(State(state.live & ~readable.must, state.changes))
        else:
            missed = ~(readable.must & found)
            running.through.append(State(state.live & missed, state.changes))

    def _apply(self, rule: Rule, verdict: Verdict, states: list[State], running: _Running, depth: int) -> None:
        states = [state for state in states if state.live.satisfiable()]
        if not states:
            return
        live = self.space.union(state.live for state in states)
        running.decide(live)
        self.recorder.step(rule, str(verdict), live)
        match verdict.outcome:
            case Outcome.ACCEPT:
                self._accepted += states
            case Outcome.DROP:
                self._dropped = self._dropped | live
            case Outcome.RETURN:
                running.returned += states
            case Outcome.CONTINUE:
                running.through += states
            case Outcome.JUMP:
                running.through += self._chain(self.table.chains[verdict.target], states, depth + 1)
            case Outcome.GOTO:
                running.returned += self._chain(self.table.chains[verdict.target], states, depth + 1)

    def _open_fate(self, state: State, running: _Running) -> None:
        self._accepted.append(state)
        self._dropped = self._dropped | state.live
        running.through.append(state)

    # -- doubt and change --------------------------------------------------------------------------------------

    def _doubtful(self, rule: Rule, statement: Doubtful, running: _Running) -> None:
        if self.evaluator.quiet and statement.quiet is not None:
            if not statement.quiet:
                running.through += running.active
                running.active = []
            return
        for state in running.active:
            self.recorder.doubt(rule.place, statement.text, ((statement.doubt, statement.reason),), state.live)
            running.through.append(state)
            if statement.terminal:
                self._accepted.append(state)
                self._dropped = self._dropped | state.live

    def _rewrite(self, rule: Rule, statement: Assign | Translate, running: _Running) -> None:
        states, running.active = running.active, []
        for state in states:
            if isinstance(statement, Assign):
                after, through = self.rewriter.assign(statement, state, str(rule.place))
                running.active += after
            else:
                after, through = self.rewriter.translate(statement, state)
                self._accepted += after
                live = self.space.union(part.live for part in after)
                if live.satisfiable():
                    running.decide(live)
                    self.recorder.step(rule, statement.text, live)
            running.through += through
        running.active = merge(self.space, running.active)


def _restore(state: State, extra: Iterable[tuple[str, int]]) -> State:
    """Take back what held in one chain only; what ``notrack`` set stays."""
    first = state.changes.bits.get((CT_STATE.region, 0))
    untracked = first is not None and first.valid()
    return State(state.live, state.changes.without(p for p in extra if not (untracked and p[0] == CT_STATE.region)))
