"""``ringfort verify --ruleset``: questions about one nftables ruleset, or two side by side.

`run` is called by the verb ``verify``; the exit code is the answer: 0 yes, 1 no or something found, 3 unknown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringfort.cli.output import notices, results
from ringfort.errors import RingfortError

if TYPE_CHECKING:
    from ringfort.proof.comparison import HookComparison
    from ringfort.proof.execute import DoubtAt, Result
    from ringfort.proof.packets import PacketSet
    from ringfort.proof.query import Answer
    from ringfort.proof.ruleset import Ruleset

FOUND, UNKNOWN = 1, 3
"""Exit codes beside 0; bad input is 2."""

MOST_BYTES = 512 * 1024 * 1024
"""A ruleset file larger than this is refused: reading it would take ten times as much memory."""

MOST_ENTRIES = 20
"""Entries of a list of packet sets that are printed."""


def run(rulesets: tuple[str, ...], queries: tuple[str, ...] = (), format_: str = "text") -> int:
    """Answer, print, and give the exit code.

    Args:
        rulesets: one or two files as ``nft --json list ruleset`` prints them; ``-`` is stdin.
        queries: questions about the first; see `ringfort.proof.query`.
        format_: ``text`` or ``json``.

    Raises:
        RingfortError: a file cannot be read, a question cannot be understood.
        click.UsageError: the combination makes no sense.
    """
    if format_ not in ("text", "json"):
        raise click.UsageError("--ruleset prints text or json")
    if len(rulesets) > 2:
        raise click.UsageError("--ruleset takes one file, or two to compare")
    if queries and len(rulesets) != 1:
        raise click.UsageError("--query asks about one --ruleset")
    loaded = [load(name) for name in rulesets]
    if queries:
        document, code = _questions(loaded[0], queries)
    elif len(loaded) == 2:
        document, code = _comparison(*loaded)
    else:
        document, code = _survey(loaded[0])
    if format_ == "json":
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        out = results()
        for line in _text(document):
            out.print(line, markup=False)
    return code


def load(name: str) -> Ruleset:
    """Read a ruleset file.

    Raises:
        RingfortError: it cannot be opened, is too large, or is no listed ruleset.
    """
    from ringfort.proof.reader import parse, read

    ruleset = read(parse(_content(name)))
    if not ruleset.tables:
        notices().print(f"note: {name} holds no table: every packet is accepted", markup=False)
    return ruleset


def _content(name: str) -> str:
    try:
        if name == "-":
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(MOST_BYTES + 1)
    except OSError as error:
        hint = "pass the output of: nft --json list ruleset"
        raise RingfortError("ruleset-unreadable", f"{name}: {error.strerror or error}", hint) from error
    if len(content) > MOST_BYTES:
        raise RingfortError("ruleset-too-large", f"{name} is larger than {MOST_BYTES // 2**20} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RingfortError("ruleset-unreadable", f"{name} is not UTF-8 text (byte {error.start})") from error


# -- one ruleset ---------------------------------------------------------------------------------------------------


def _survey(ruleset: Ruleset) -> tuple[dict[str, Any], int]:
    from ringfort.proof.dead import dead_rules
    from ringfort.proof.execute import execute
    from ringfort.proof.hooks import hooks
    from ringfort.proof.ruleset import Doubt
    from ringfort.proof.variables import Space

    spaces: dict[Any, Space] = {}
    found: list[Result] = []
    for hook in hooks(ruleset):
        for universe in hook.universes:
            space = spaces.setdefault(universe, Space(universe))
            found.append(execute(ruleset, hook, universe, space=space))
    dead = dead_rules(ruleset, found)
    doubts = [doubt for result in found for doubt in _that_matter(result)]
    document = {
        "kind": "survey",
        "hooks": [_hook_document(result) for result in found],
        "dead": [
            {
                "place": str(entry.rule.place),
                "rule": entry.rule.text,
                "why": entry.why.value,
                "by": [{"place": str(rule.place), "rule": rule.text} for rule in entry.by],
            }
            for entry in dead
        ],
        "unknown": _doubt_documents(doubts),
    }
    if dead:
        return document, FOUND
    return document, UNKNOWN if any(doubt.doubt is Doubt.UNKNOWN for doubt in doubts) else 0


def _that_matter(result: Result) -> list[DoubtAt]:
    torn = result.may - result.must
    return [doubt for doubt in result.doubts if doubt.packets.overlaps(torn)]


def _hook_document(result: Result) -> dict[str, Any]:
    universe = result.space.universe
    document = {"hook": " ".join(str(hook) for hook in result.hooks), "packets": universe.value}
    document |= _listed("accepts", result.must, result.domain)
    if result.may != result.must:
        document |= _listed("may_accept", result.may - result.must, result.domain)
    return document


def _listed(name: str, packets: PacketSet, domain: PacketSet) -> dict[str, Any]:
    from ringfort.proof.cubes import cubes

    found = cubes(packets, domain, MOST_ENTRIES)
    return {name: [str(cube) for cube in found.cubes], f"{name}_complete": found.complete}


def _doubt_documents(doubts: list[DoubtAt]) -> list[dict[str, str]]:
    told = {
        (str(doubt.place), doubt.text, doubt.doubt.value, doubt.reason): {
            "place": str(doubt.place),
            "statement": doubt.text,
            "kind": doubt.doubt.value,
            "reason": doubt.reason,
        }
        for doubt in doubts
    }
    return list(told.values())


# -- two rulesets --------------------------------------------------------------------------------------------------


def _comparison(first: Ruleset, second: Ruleset) -> tuple[dict[str, Any], int]:
    from ringfort.proof.comparison import Relation, compare, overall

    comparisons = compare(first, second)
    relation = overall(comparisons)
    document = {
        "kind": "comparison",
        "relation": relation.value,
        "hooks": [_difference(entry) for entry in comparisons],
    }
    code = {Relation.EQUAL: 0, Relation.UNKNOWN: UNKNOWN}.get(relation, FOUND)
    return document, code


def _difference(entry: HookComparison) -> dict[str, Any]:
    document: dict[str, Any] = {
        "hook": str(entry.hook),
        "packets": entry.universe.value,
        "relation": entry.relation.value,
    }
    for name, packets in (("added", entry.added), ("removed", entry.removed), ("open", entry.open_packets)):
        if packets:
            document |= _listed(name, packets, entry.domain)
            document[f"{name}_example"] = _example(packets, entry.domain)
    if entry.doubts:
        document["unknown"] = _doubt_documents(list(entry.doubts))
    return document


def _example(packets: PacketSet, domain: PacketSet) -> str:
    from ringfort.proof.witness import packet_text, witness

    packet = witness(packets)
    assert packet is not None
    return packet_text(packet, packets.space, packets, domain)


# -- questions -----------------------------------------------------------------------------------------------------


def _questions(ruleset: Ruleset, queries: tuple[str, ...]) -> tuple[dict[str, Any], int]:
    from ringfort.proof.query import Verdict, answer, parse_query

    parsed = [parse_query(query) for query in queries]
    answers = [(query, answer(ruleset, query)) for query in parsed]
    document = {
        "kind": "answers",
        "answers": [_answer_document(ruleset, query.text, found) for query, found in answers],
    }
    verdicts = {found.verdict for _, found in answers}
    code = FOUND if Verdict.NO in verdicts else UNKNOWN if Verdict.UNKNOWN in verdicts else 0
    return document, code


def _answer_document(ruleset: Ruleset, text: str, found: Answer) -> dict[str, Any]:
    document: dict[str, Any] = {
        "query": text,
        "hooks": [str(hook) for hook in found.hooks],
        "answer": found.verdict.value,
    }
    if found.example is not None:
        document["example"], document["way"] = _way(ruleset, found)
    parts = [_listed("accepted", m, p) for p, m in zip(found.possible, found.accepted, strict=True) if m]
    document["accepted"] = [line for part in parts for line in part["accepted"]]
    document["accepted_complete"] = all(part["accepted_complete"] for part in parts)
    if found.doubts:
        document["unknown"] = _doubt_documents(list(found.doubts))
    return document


def _way(ruleset: Ruleset, found: Answer) -> tuple[str, list[str]]:
    from ringfort.proof.trace import exactly, trace
    from ringfort.proof.witness import packet_text, witness

    assert found.example is not None
    packet = witness(found.example)
    assert packet is not None
    space = found.example.space
    steps, _ = trace(ruleset, found.hooks, exactly(space, packet))
    way = [
        f"{step.place}: {step.text}" + (f"  # {step.comment}" if step.comment else "") for step in steps if step.verdict
    ]
    asked = next(packets for packets in found.asked if packets.space is space)
    return packet_text(packet, space, found.example, asked), way


# -- text ----------------------------------------------------------------------------------------------------------

_FAMILIES = {"ip": "IPv4", "ip6": "IPv6", "arp": "ARP", "other": "other protocols"}
_WHY = {
    "unused": "no base chain leads to it",
    "contradiction": "no packet can match it",
    "shadowed": "earlier rules take all its packets",
    "unreached": "no packet that it would match reaches it",
}
_ANSWERS = {
    "equal": "equal: both accept the same packets",
    "narrower": "narrower: the second accepts less than the first",
    "wider": "wider: the second accepts more than the first",
    "different": "different: each accepts packets that the other does not",
    "unknown": "unknown: it depends on the statements below",
}


def _text(document: dict[str, Any]) -> Iterator[str]:
    writers = {"survey": _survey_text, "comparison": _comparison_text, "answers": _answers_text}
    yield from writers[document["kind"]](document)


def _survey_text(document: dict[str, Any]) -> Iterator[str]:
    for entry in document["hooks"]:
        yield f"{entry['hook']}, {_FAMILIES[entry['packets']]}: accepts"
        yield from _entries(entry, "accepts", "nothing")
        if "may_accept" in entry:
            yield "  and, depending on the statements at the end:"
            yield from _entries(entry, "may_accept", "nothing")
    if not document["hooks"]:
        yield "no base chain: every packet is accepted"
    if document["dead"]:
        yield "rules that decide nothing:"
    for entry in document["dead"]:
        yield f"  {entry['place']}: {entry['rule']}"
        yield f"      {entry['why']}: {_WHY[entry['why']]}"
        for other in entry["by"]:
            yield f"      by {other['place']}: {other['rule']}"
    yield from _unknown_text(document["unknown"])


def _entries(entry: dict[str, Any], name: str, none: str, indent: str = "    ") -> Iterator[str]:
    for line in entry[name] or ([none] if entry[f"{name}_complete"] else []):
        yield f"{indent}{line}"
    if not entry[f"{name}_complete"]:
        yield f"{indent}... and more than {MOST_ENTRIES} further entries"


def _unknown_text(unknown: list[dict[str, str]]) -> Iterator[str]:
    if unknown:
        yield "followed both ways:"
    for entry in unknown:
        yield f"  {entry['place']}: {entry['statement']}"
        yield f"      {entry['kind']}: {entry['reason']}"


def _comparison_text(document: dict[str, Any]) -> Iterator[str]:
    yield _ANSWERS[document["relation"]]
    titles = {
        "added": "accepted by the second only",
        "removed": "accepted by the first only",
        "open": "may differ",
    }
    for entry in document["hooks"]:
        if entry["relation"] == "equal":
            continue
        yield f"{entry['hook']}, {_FAMILIES[entry['packets']]}: {entry['relation']}"
        for name, title in titles.items():
            if name in entry:
                yield f"  {title}, for example {entry[f'{name}_example']}"
                yield from _entries(entry, name, "nothing")
        yield from _unknown_text(entry.get("unknown", []))


def _answers_text(document: dict[str, Any]) -> Iterator[str]:
    for entry in document["answers"]:
        yield f"{entry['answer']}: {entry['query']}"
        if "example" in entry:
            yield f"  for example {entry['example']}"
            for line in entry["way"]:
                yield f"      {line}"
        if entry["accepted"]:
            yield "  accepted of what was asked:"
            yield from _entries(entry, "accepted", "nothing")
        yield from _unknown_text(entry.get("unknown", []))
