"""Which record was touched: from what is known of the true hashes, and else from the records themselves.

Known are the hashes in tiles that lead to the cosigned root: with them every difference is found by comparing lists.
Where somebody rewrote tiles too, each record's index tells what is missing, doubled or moved, and the hash of the
one before tells what was changed. Where somebody rewrote all of that, earlier checkpoints tell from where on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ringfort.audit.aligning import Step, align
from ringfort.audit.errors import AuditError
from ringfort.audit.sealing import NO_PREVIOUS, Leaf, unseal
from ringfort.audit.tree import Hash, leaf_hash


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that is not as it was signed.

    Args:
        kind: ``changed``, ``removed``, ``inserted``, ``reordered``; ``rewritten`` for a whole end of the log;
            ``damaged`` for a file; ``forked``, ``rolled-back`` for checkpoints.
        index: of the record; -1 where it is about no record.
        message: for people.
    """

    index: int
    kind: str
    message: str


def by_hashes(expected: Sequence[tuple[int, Hash]], served: Sequence[tuple[int, Hash]]) -> list[Finding]:
    """Compare with true hashes: index and hash as signed, position and hash as served."""
    return [_told(step, "its hash isn't the one under the checkpoint") for step in align(expected, served)]


def by_records(start: int, end: int, previous: Hash | None, served: Sequence[tuple[int, bytes]]) -> list[Finding]:
    """Compare records ``start`` to ``end`` with one another, for want of true hashes.

    Args:
        start: index of the first record that should be among them.
        end: index after the last.
        previous: the true hash of the leaf before ``start``; none if it isn't known.
        served: position and leaf of each record found.
    """
    leaves = [(position, leaf, _taken_apart(leaf)) for position, leaf in served]
    pointed = {sealed.previous for _, _, sealed in leaves if sealed is not None}
    chosen: dict[int, tuple[int, bytes]] = {}
    for position, leaf, sealed in leaves:
        if sealed is None:
            continue
        rival = chosen.get(sealed.index)
        if rival is None or (leaf_hash(leaf) in pointed and leaf_hash(rival[1]) not in pointed):
            chosen[sealed.index] = (position, leaf)
    keys = [
        (position, sealed.index if sealed is not None and chosen[sealed.index] == (position, leaf) else None)
        for position, leaf, sealed in leaves
    ]
    steps = align([(index, index) for index in range(start, end)], keys)
    findings = [_told(step, "its place doesn't hold it") for step in steps]
    return findings + list(_broken(_links(chosen, start, end, previous)))


def _links(
    chosen: Mapping[int, tuple[int, bytes]], start: int, end: int, previous: Hash | None
) -> Iterator[tuple[int, bool]]:
    """For each pair of neighbours that are both there: the later one's index, and whether it points at the earlier."""
    for index in range(start, end):
        if index not in chosen:
            continue
        points = unseal(chosen[index][1]).previous
        if index - 1 in chosen:
            yield index, points == leaf_hash(chosen[index - 1][1])
        elif index == start and (previous is not None or start == 0):
            yield index, points == (NO_PREVIOUS if start == 0 else previous)


def _broken(links: Iterable[tuple[int, bool]]) -> Iterator[Finding]:
    """One broken link: the record before it was changed. Two in a row: the one between them."""
    run: list[int] = []
    for index, whole in [*links, (-1, True)]:
        if not whole and (not run or run[-1] == index - 1):
            run.append(index)
            continue
        yield from _run(run)
        run = [] if whole else [index]


def _run(run: Sequence[int]) -> Iterator[Finding]:
    if len(run) == 1:
        before = run[0] - 1
        yield Finding(
            before, "changed", f"record {before} was changed: record {run[0]} remembers another one before it"
        )
    for index in run[:-1]:
        message = f"record {index} was changed: it doesn't follow from record {index - 1}, nor the next one from it"
        yield Finding(index, "changed", message)


def _taken_apart(leaf: bytes) -> Leaf | None:
    try:
        return unseal(leaf)
    except AuditError:
        return None


def _told(step: Step, changed: str) -> Finding:
    match step.kind:
        case "changed":
            message = f"record {step.index} was changed: {changed}"
        case "removed":
            message = f"record {step.index} was removed"
        case "inserted":
            message = (
                f"a record was inserted at position {step.position}: it isn't one of those signed, or is one twice"
            )
        case "reordered":
            message = f"record {step.index} was moved: it stands at position {step.position}"
    return Finding(step.index, step.kind, message)
