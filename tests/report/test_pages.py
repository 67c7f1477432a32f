"""Pages say what was found, in every state, and are one file."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ringfort.drill.result import DrillResult
from ringfort.proof.verdict import Outcome, Verdict
from ringfort.report.pages import drill_html, verify_html
from tests.report import samples

SHOP = samples.shop()
VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})


class Balance(HTMLParser):
    """Notes what is not closed, and every reference to something else."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "title"):
            self.words.append(data)


def read(page: str) -> str:
    """The words of a page; fails when its tags don't match or it refers to anything outside."""
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert parser.references == []
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    return re.sub(r"\s+", " ", " ".join(parser.words))


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_verdict_is_told_in_every_state(outcome: Outcome) -> None:
    words = read(verify_html(SHOP, samples.verdict(outcome)))
    assert f" {outcome} " in words
    assert "every declared flow is possible" in words
    assert "one failure at a time" in words


def test_a_refutation_is_told_with_packet_way_and_cure() -> None:
    page = verify_html(SHOP, samples.verdict(Outcome.REFUTED))
    words = read(page)
    assert "10.10.1.2 -> 10.10.2.2 tcp/8443 sent from host:web-n-2" in words
    assert "port-security:north/edge" in words
    assert "web-to-app" in words
    assert "To close it: declare `tls: mutual` for app" in words
    for badge in ("attacker", "off", "reached"):  # in the picture
        assert f">{badge}</text>" in page


def test_an_unknown_names_the_rule_that_stands_in_the_way() -> None:
    words = read(verify_html(SHOP, samples.verdict(Outcome.UNKNOWN)))
    assert "limit rate 5/second" in words
    assert "inet/extra/forward/1" in words


def test_depths_too_many_for_a_table_become_the_weakest_pairs() -> None:
    few = samples.verdict(Outcome.PROVED)
    many = tuple(replace(few.depths[0], source=f"s{n}", depth=2 + n % 3) for n in range(60))
    words = read(verify_html(SHOP, replace(few, depths=(*many, replace(few.depths[0], source="thin", depth=1)))))
    assert "thin" in words
    assert "21 more are at least as deep" in words


def test_refutations_beyond_a_limit_are_counted() -> None:
    verdict = samples.verdict(Outcome.REFUTED)
    page = verify_html(SHOP, replace(verdict, refutations=verdict.refutations * 250))
    assert "and 50 more" in read(page)


STATES = {
    "everything held": samples.drill(),
    "something got through": samples.drill(through=True),
    "drill and proof disagree": samples.drill(through=True, disagrees=True),
    "not everything held": samples.drill(open_fails=True),
}


@pytest.mark.parametrize(("verdict", "result"), STATES.items(), ids=list(STATES))
def test_a_drill_is_told_in_every_state(verdict: str, result: DrillResult) -> None:
    words = read(drill_html(SHOP, result))
    assert f" {verdict} " in words
    assert "a host tries everything it has no flow to" in words
    assert "4,321 probes were left out" in words


def test_a_drill_page_counts_what_refused() -> None:
    page = drill_html(SHOP, samples.drill())
    assert "2,077 undeclared probes" in read(page)
    assert re.search(r'title="router-filter"><i[^>]*>R</i>1,000<', page)
    assert "router-filter:north-r1 600, router-filter:south-r1 400" in read(page)


def test_what_got_through_and_what_disagrees_is_on_the_page() -> None:
    words = read(drill_html(SHOP, samples.drill(through=True, disagrees=True)))
    assert words.count("10.10.4.2 -> 10.10.4.3 tcp/22 sent from host:db-n-1") == 2
    assert "The proof says: refused by two" in words
    assert "The drill saw: the stack took it" in words


def test_words_of_others_never_become_markup() -> None:
    hostile = "<script>alert(1)</script>"
    verdict = samples.verdict(Outcome.REFUTED)
    (found,) = verdict.refutations
    hostile_verdict: Verdict = replace(verdict, refutations=(replace(found, summary=hostile, edit=hostile),))
    assert "<script" not in verify_html(SHOP, hostile_verdict)
    drill = samples.drill(through=True)
    (got,) = drill.delivered
    assert "<script" not in drill_html(
        SHOP, replace(drill, delivered=(replace(got, evidence=hostile),), notes=(hostile,))
    )
