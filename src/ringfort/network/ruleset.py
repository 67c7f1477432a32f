"""A compiled ruleset: what one device should hold."""

from __future__ import annotations

from dataclasses import dataclass

from ringfort.environment.topology import Device
from ringfort.network.nft import Json
from ringfort.network.render import render


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What ``device`` should hold.

    ``document`` is the form that ``nft --json list ruleset`` gives (less handles); it is shared, between the two
    routers of a site for one, and must not be changed. ``title`` says in words whose it is.
    """

    device: Device
    title: str
    document: Json

    @property
    def text(self) -> str:
        """The same as text for ``nft -f``: one transaction that replaces the table wholly or not at all."""
        return render(self.document, self.title)
