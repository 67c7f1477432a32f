"""Pages for people: the verdict of the proof and the result of a drill, each one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Protocol

from jinja2 import Environment as Templates
from jinja2 import PackageLoader, StrictUndefined
from markupsafe import Markup

from ringfort.environment.model import Environment
from ringfort.proof.verdict import DepthEntry, Outcome, Refutation, Verdict
from ringfort.report.summary import counts
from ringfort.report.svg import picture_svg

MOST_REFUTATIONS = 200
"""Refutations that a page tells in full; the rest is counted."""
MOST_DEPTHS = 40
"""Rows and columns of the table of depths that are shown as a table; larger ones show the weakest pairs only."""


class DrillLike(Protocol):
    """What a page needs of `ringfort.drill.result.DrillResult`, which stands above this package; its template asks for
    more."""

    @property
    def exit_code(self) -> int:
        """0 when everything held."""


@cache
def _templates() -> Templates:
    templates = Templates(
        loader=PackageLoader("ringfort.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = lambda value: f"{value:,}"
    templates.filters["seconds"] = lambda value: f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    return templates


def verify_html(environment: Environment, verdict: Verdict) -> str:
    """The verdict of a proof as one page: picture, claims, depths, refutations, what is unknown, what was assumed."""
    shown = verdict.refutations[:MOST_REFUTATIONS]
    return _render(
        "verify.html.j2",
        environment,
        _marks(verdict.refutations),
        verdict=verdict,
        outcome=str(verdict.outcome),
        refutations=shown,
        hidden=len(verdict.refutations) - len(shown),
        depths=_depths(verdict.depths),
        good=verdict.outcome is Outcome.PROVED,
    )


def drill_html(environment: Environment, result: DrillLike) -> str:
    """The result of a drill as one page: matrix of attacks and failures, picture, flows, and what got through.

    Args:
        result: a `ringfort.drill.result.DrillResult`.
    """
    return _render("drill.html.j2", environment, {}, drill=result, good=result.exit_code == 0)


def _render(template: str, environment: Environment, marks: Mapping[str, str], **values: object) -> str:
    page = _templates().get_template(template)
    picture = Markup(picture_svg(environment, marks))  # noqa: S704 - markup made by us, everything in it escaped
    return page.render(
        environment=environment, counts=counts(environment), picture=picture, version=version("ringfort"), **values
    )


def _marks(refutations: Iterable[Refutation]) -> dict[str, str]:
    """Where the witnesses of the refutations come from, what failed, and what they reach."""
    marks: dict[str, str] = {}
    for refutation in refutations:
        if refutation.packet is None:
            continue
        place, _, name = refutation.packet.place.partition(":")
        marks.setdefault("internet" if place == "internet" else f"{place}:{name}", "attacker")
        lost = _thing(refutation.failure)
        if lost:
            marks.setdefault(lost, "taken" if "taken-over" in refutation.failure else "lost")
        reached = next((hop.device for hop in reversed(refutation.path) if hop.device.startswith("host:")), "")
        if reached:
            marks.setdefault(reached, "reached")
    return marks


def _thing(mechanism: str) -> str:
    kind, _, name = mechanism.partition(":")
    things = {"router-filter": "router", "router-taken-over": "router", "port-security": "segment"}
    things |= {"host-firewall": "host", "host-taken-over": "host", "identity-stolen": "host"}
    return f"{things[kind]}:{name}" if kind in things else ""


def _depths(entries: tuple[DepthEntry, ...]) -> dict[str, Any]:
    """The table of depths: rows are sources, columns destinations; or only the weakest pairs when it would be large."""
    sources = list(dict.fromkeys(entry.source for entry in entries))
    destinations = list(dict.fromkeys(entry.destination for entry in entries))
    if len(sources) > MOST_DEPTHS or len(destinations) > MOST_DEPTHS:
        weakest = sorted(entries, key=lambda entry: (entry.depth - entry.promised, entry.depth))[:MOST_DEPTHS]
        return {"table": None, "weakest": weakest, "hidden": len(entries) - len(weakest)}
    cells = {(entry.source, entry.destination): entry for entry in entries}
    table = [(source, [cells.get((source, destination)) for destination in destinations]) for source in sources]
    return {"table": table, "destinations": destinations, "weakest": [], "hidden": 0}
