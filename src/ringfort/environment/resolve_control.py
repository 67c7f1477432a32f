"""The control plane's services."""

from __future__ import annotations

from ringfort.environment.draft import Draft
from ringfort.environment.model import Control
from ringfort.environment.problems import shown


def resolve_control(draft: Draft) -> None:
    """Fill the draft's control plane, if there is one."""
    form = draft.declaration.header.control
    if form is None:
        return
    known = True
    for key, name in (("controller", form.controller), ("witness", form.witness)):
        if name and name not in draft.services:
            known = False
            if not draft.is_broken("services", name):
                hint = draft.problems.nearest(name, draft.services, "add it under 'services'")
                place = draft.declaration.at("control", key)
                draft.problems.add("unknown-service", place, f"there is no service {shown(name)}", hint)
    if known:
        draft.control = Control(form.controller, form.witness, draft.declaration.at("control").origin)
