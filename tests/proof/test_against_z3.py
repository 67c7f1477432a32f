"""The algebra and the execution against Z3: the same sets, encoded a second time as bit-vector formulas."""

from __future__ import annotations

import random
from typing import Any

import pytest
import z3

from ringfort.proof.execute import execute
from ringfort.proof.fields import DPORT, L4PROTO, TRANSPORT, Universe
from ringfort.proof.packets import PacketSet, everything, nothing, where
from ringfort.proof.reader import read
from ringfort.proof.variables import Space
from ringfort.proof.witness import witness
from tests.proof.documents import (
    ACCEPT,
    DADDR,
    DROP,
    RETURN,
    SADDR,
    document,
    field,
    goto,
    jump,
    match,
    meta,
    prefix,
    table,
)

SPACE = Space(Universe.IP)
FIELDS = {"saddr": SPACE.fields["saddr"], "daddr": SPACE.fields["daddr"], "dport": DPORT, "l4proto": L4PROTO}
NUMBERS = {name: z3.BitVec(name, one.width) for name, one in FIELDS.items()}


def between(name: str, low: int, high: int) -> z3.BoolRef:
    return z3.And(z3.UGE(NUMBERS[name], low), z3.ULE(NUMBERS[name], high))


def formula_of(packets: PacketSet) -> z3.BoolRef:
    """A packet set as a formula, by way of its boxes."""
    names = list(FIELDS)
    boxes = packets.boxes(*FIELDS.values(), limit=20_000)
    return z3.Or([z3.And([between(n, *i) for n, i in zip(names, box, strict=True)]) for box in boxes])


def same(packets: PacketSet, formula: z3.BoolRef) -> bool:
    solver = z3.SolverFor("QF_BV")
    solver.add(z3.Xor(formula_of(packets), formula))
    return bool(solver.check() == z3.unsat)


def random_interval(chance: random.Random, name: str) -> tuple[int, int]:
    width = FIELDS[name].width
    if name in ("saddr", "daddr"):
        length = chance.choice([0, 1, 8, 16, 24, 31, 32])
        base = chance.choice([0x0A000000, 0x0A010000, 0xC0A80000, chance.getrandbits(32)])
        low = base >> (32 - length) << (32 - length)
        return low, low | ((1 << (32 - length)) - 1)
    low, high = sorted((chance.getrandbits(width), chance.getrandbits(width)))
    return low, chance.choice([low, high, min(low + 3, (1 << width) - 1)])


def random_set(chance: random.Random, depth: int) -> tuple[PacketSet, z3.BoolRef]:
    if depth == 0:
        name = chance.choice(list(FIELDS))
        interval = random_interval(chance, name)
        return where(SPACE, FIELDS[name], interval), between(name, *interval)
    kind = chance.randrange(5)
    a, x = random_set(chance, depth - 1)
    if kind == 0:
        return ~a, z3.Not(x)
    b, y = random_set(chance, chance.randrange(depth))
    return [(a & b, z3.And(x, y)), (a | b, z3.Or(x, y)), (a - b, z3.And(x, z3.Not(y))), (a ^ b, z3.Xor(x, y))][kind - 1]


@pytest.mark.parametrize("seed", range(40))
def test_set_expressions_are_what_z3_says(seed: int) -> None:
    chance = random.Random(seed)
    a, x = random_set(chance, 4)
    b, y = random_set(chance, 4)
    assert same(a, x)
    solver = z3.SolverFor("QF_BV")
    solver.add(x, z3.Not(y))
    assert (a <= b) == (solver.check() == z3.unsat)
    assert (everything(SPACE) == a) == same(everything(SPACE), x)
    assert (nothing(SPACE) == a) == a.is_empty


@pytest.mark.parametrize("seed", range(20))
def test_a_witness_satisfies_the_formula(seed: int) -> None:
    a, x = random_set(random.Random(1000 + seed), 4)
    packet = witness(a)
    if packet is None:
        solver = z3.SolverFor("QF_BV")
        solver.add(x)
        assert solver.check() == z3.unsat
        return
    values = [(NUMBERS[n], z3.BitVecVal(packet.values[n], FIELDS[n].width)) for n in FIELDS]
    assert z3.is_true(z3.simplify(z3.substitute(x, *values)))


# -- rulesets ------------------------------------------------------------------------------------------------------

Rules = dict[str, list[tuple[list[tuple[str, bool, tuple[int, int]]], str]]]
KEYS = {"saddr": SADDR, "daddr": DADDR, "dport": field("th", "dport"), "l4proto": meta("l4proto")}


def random_rules(chance: random.Random) -> Rules:
    rules: Rules = {}
    for i, chain in enumerate(["forward", "a", "b"]):
        targets = ["a", "b"][i:]
        verdicts = ["accept", "drop", "return", *(f"{how} {target}" for target in targets for how in ("jump", "goto"))]
        rules[chain] = []
        for _ in range(chance.randrange(1, 7)):
            matches = [
                (name, chance.random() < 0.25, random_interval(chance, name))
                for name in chance.sample(list(KEYS), chance.randrange(0, 3))
            ]
            rules[chain].append((matches, chance.choice(verdicts)))
    return rules


def listed(rules: Rules) -> dict[str, Any]:
    def right(name: str, low: int, high: int) -> object:
        words: list[Any] = [low, high]
        if name in ("saddr", "daddr"):
            words = [".".join(str(n >> s & 255) for s in (24, 16, 8, 0)) for n in (low, high)]
            if high - low + 1 == 1 << (high - low).bit_length() and low != high:
                return prefix(f"{words[0]}/{32 - (high - low).bit_length()}")
        return words[0] if low == high else {"range": words}

    def verdict(text: str) -> dict[str, Any]:
        word, _, target = text.partition(" ")
        plain = {"accept": ACCEPT, "drop": DROP, "return": RETURN}
        return plain.get(word) or (jump(target) if word == "jump" else goto(target))

    chains = {
        chain: [
            [*(match(KEYS[n], right(n, *i), "!=" if negated else "==") for n, negated, i in matches), verdict(text)]
            for matches, text in body
        ]
        for chain, body in rules.items()
    }
    return document(table(chains))


def accepted(rules: Rules, chain: str, fall: z3.BoolRef) -> z3.BoolRef:
    """Whether a packet is accepted that enters ``chain``, if ``fall`` tells what becomes of one that leaves it."""
    result = fall
    for matches, verdict in reversed(rules[chain]):
        holds = z3.And([z3.Not(between(n, *i)) if negated else between(n, *i) for n, negated, i in matches])
        word, _, target = verdict.partition(" ")
        then = {"accept": z3.BoolVal(True), "drop": z3.BoolVal(False), "return": fall}.get(word)
        if word == "jump":
            then = accepted(rules, target, result)
        if word == "goto":
            then = accepted(rules, target, fall)
        result = z3.If(holds, then, result)
    return result


@pytest.mark.parametrize("seed", range(60))
def test_rulesets_accept_what_z3_says(seed: int) -> None:
    rules = random_rules(random.Random(seed))
    result = execute(read(listed(rules)), "forward", Universe.IP, space=SPACE, start=where(SPACE, TRANSPORT, (1, 1)))
    assert result.certain
    assert same(result.may, accepted(rules, "forward", z3.BoolVal(False)))
    quick = execute(
        read(listed(rules)), "forward", Universe.IP, space=SPACE, start=where(SPACE, TRANSPORT, (1, 1)), details=False
    )
    assert quick.may == result.may
