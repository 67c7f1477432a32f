"""The gateway: which services of edge hosts are customers' public names."""

from __future__ import annotations

from ringfort.environment.draft import Draft
from ringfort.environment.model import Gateway
from ringfort.environment.problems import shown


def resolve_gateway(draft: Draft) -> None:
    """Fill the draft's gateway, if there is one."""
    form = draft.declaration.header.gateway
    if form is None:
        return
    origin = draft.declaration.at("gateway").origin
    gateway = Gateway(form.service, form.plain, origin, form.acme, form.acme_name)
    named = {**gateway.services, **({"acme": form.acme} if form.acme else {})}
    unknown = {key: name for key, name in named.items() if name not in draft.services}
    for key, name in unknown.items():
        if not draft.is_broken("services", name):
            hint = draft.problems.nearest(name, draft.services, "add it under 'services'")
            draft.problems.add(
                "unknown-service", draft.declaration.at("gateway", key), f"there is no service {shown(name)}", hint
            )
    if not unknown:
        draft.gateway = gateway
