"""The control plane's services, and what its operators may act as."""

from __future__ import annotations

from collections.abc import Iterator

from ringfort.environment.draft import Draft
from ringfort.environment.model import Control, Operator
from ringfort.environment.problems import shown
from ringfort.environment.schema import ControlForm


def resolve_control(draft: Draft) -> None:
    """Fill the draft's control plane, if there is one."""
    form = draft.declaration.header.control
    if form is None:
        return
    known = True
    for key in ("controller", "witness", "customers", "door"):
        name: str = getattr(form, key)
        if name and name not in draft.services:
            known = False
            if not draft.is_broken("services", name):
                hint = draft.problems.nearest(name, draft.services, "add it under 'services'")
                place = draft.declaration.at("control", key)
                draft.problems.add("unknown-service", place, f"there is no service {shown(name)}", hint)
    operators = tuple(_operators(draft, form))
    if known:
        origin = draft.declaration.at("control").origin
        draft.control = Control(form.controller, form.witness, form.customers, form.door, operators, origin)


def _operators(draft: Draft, form: ControlForm) -> Iterator[Operator]:
    for name, operator in form.operators.items():
        place = draft.declaration.at("control", "operators", name)
        for site in operator.sites:
            if site not in draft.sites and not draft.is_broken("sites", site):
                hint = draft.problems.nearest(site, draft.sites, "add it under 'sites'")
                draft.problems.add("unknown-site", place, f"there is no site {shown(site)}", hint)
        yield Operator(name, tuple(sorted(set(operator.roles))), tuple(dict.fromkeys(operator.sites)))
