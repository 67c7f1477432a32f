"""Sites with their providers, routers and segments."""

from __future__ import annotations

from ringfort.environment.draft import Draft
from ringfort.environment.forms import Entry
from ringfort.environment.model import Provider, Router, Segment, Site
from ringfort.environment.schema import SiteForm


def resolve_sites(draft: Draft) -> None:
    """Fill the draft's sites, providers, routers and segments."""
    for entry in draft.declaration.sites.values():
        routers = _routers(draft, entry)
        providers = _providers(draft, entry)
        segments = _segments(draft, entry)
        draft.sites[entry.name] = Site(
            entry.name, tuple(entry.form.blocks), providers, routers, segments, entry.at().origin
        )


def _routers(draft: Draft, entry: Entry[SiteForm]) -> tuple[str, ...]:
    names = []
    for index, form in enumerate(entry.form.routers):
        place = entry.at("routers", index)
        if form.name in draft.routers:
            where = draft.routers[form.name].origin
            draft.problems.add(
                "duplicate-name",
                place,
                f"a router '{form.name}' exists already, at {where}",
                "routers of all sites need different names, like 'north-r1'",
            )
            continue
        draft.routers[form.name] = Router(form.name, entry.name, form.machine or form.name, place.origin)
        names.append(form.name)
    return tuple(names)


def _providers(draft: Draft, entry: Entry[SiteForm]) -> tuple[str, ...]:
    keys = []
    for name, form in entry.form.providers.items():
        origin = entry.at("providers", name).origin
        provider = Provider(name, entry.name, tuple(form.networks), origin)
        draft.providers[provider.key] = provider
        keys.append(provider.key)
    return tuple(keys)


def _segments(draft: Draft, entry: Entry[SiteForm]) -> tuple[str, ...]:
    keys = []
    for name, form in entry.form.segments.items():
        key = f"{entry.name}/{name}"
        origin = entry.at("segments", name).origin
        # the machine of a switch is called like the segment by default, which no host can be
        machine = form.machine or key
        draft.segments[key] = Segment(name, entry.name, form.tier, form.cluster, tuple(form.networks), machine, origin)
        keys.append(key)
    return tuple(keys)
