"""What one customer may not do to another: tried with real orders and real packets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ringfort.environment.topology import Device, DeviceKind
from ringfort.lab import customers
from ringfort.lab.client import Outcome, call
from ringfort.lab.lab import Lab
from ringfort.lab.plane import Plane
from ringfort.lab.played import Applications, Planned
from ringfort.lab.shapes import VISITOR

REFUSED = (403, 404)


def bar(lab: Lab, plane: Plane, wanted: Sequence[Planned], found: Applications) -> None:
    """Try it with the first application of every customer against every other's, and note what came of it."""
    first = list({one.customer: one for one in reversed(wanted)}.values())
    places = {(one.customer, one.name): [place for place in one.places if place] for one in found.shown}
    for mine in first:
        for other in first:
            if mine is not other:
                _orders(plane, mine, other, found)
                _packets(lab, places[mine.customer, mine.name], other, places[other.customer, other.name], found)


def _orders(plane: Plane, mine: Planned, other: Planned, found: Applications) -> None:
    """One customer's certificate orders and sees nothing of the other's."""
    path = f"/v1/customers/{other.customer}/applications/{other.name}"
    with customers.calling(plane, customers.of(plane, mine.customer)) as client:
        for method, where in (("GET", path), ("POST", f"{path}/stop")):
            status = client.send(method, where, None, {"Idempotency-Key": "not-mine-to-order"}).status
            if status not in REFUSED:
                found.troubles.append(f"{method} {where} with {mine.customer}'s certificate: status {status}")
                return
    found.barred.append(f"{other.name} of {other.customer} to {mine.customer}'s certificate")


def _packets(lab: Lab, mine: Iterable[str], other: Planned, theirs: Iterable[str], found: Applications) -> None:
    """Whoever owns an instance's place reaches no other's; nor does the internet, past the gateway."""
    port = next((endpoint.port for endpoint in other.application.endpoints), 0)
    sources: list[Device | str] = [*(Device(DeviceKind.HOST, place) for place in list(mine)[:1]), VISITOR]
    for target in list(theirs)[:1] if port else ():
        address = str(lab.environment.hosts[target].addresses[0])
        for source in sources:
            if call(lab, source, address, port, timeout_seconds=0.5).outcome is Outcome.ADMITTED:
                found.troubles.append(f"{source} reaches {target} at port {port}")
            else:
                found.barred.append(f"{target} port {port} to {source}")
