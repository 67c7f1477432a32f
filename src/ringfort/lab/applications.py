"""The applications that stand beside an environment (`ringfort.lab.played`), run on its lab as their customers would.

Everything goes the way that a customer's own orders and visitors take: from the lab's internet, through its door and
its gateway.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ringfort.compute import image
from ringfort.errors import RingfortError
from ringfort.lab import barring, customers, public_names, state, visiting
from ringfort.lab.deploying import ordered
from ringfort.lab.lab import Lab
from ringfort.lab.plane import Plane
from ringfort.lab.played import Applications, Planned, Shown
from ringfort.lab.shapes import VISITOR, namespace_name
from ringfort.lab.visiting import Site

ANSWER_SECONDS = 180.0
"""Until a deployed application answers its first visitor; guests without KVM take their time on a busy machine."""
SETTLE_SECONDS = 240
VISITORS, PAUSE_SECONDS = 4, 0.1
"""Of the load during an update: how many, and how long each waits between two requests."""

Progress = Callable[[str], None]


def run(lab: Lab, plane: Plane, wanted: Sequence[Planned], progress: Progress) -> Applications:
    """Have customers deploy what they want to run, if it doesn't run; visit it, update one under load, and try what
    has to be refused."""
    begin, found = time.monotonic(), Applications()
    progress("making sure of the virtual machines' base image")
    image.ensure()
    customers.ensure(plane, dict.fromkeys(one.customer for one in wanted))
    progress("deploying " + " and ".join(f"{one.name} of {one.customer}" for one in wanted))
    with ThreadPoolExecutor(len(wanted)) as pool:
        found.shown = list(pool.map(lambda one: _deployed(plane, one, found.troubles), wanted))
    chosen = next((number for number, one in enumerate(wanted) if one.application.instances.count > 1), None)
    if chosen is not None and found.shown[chosen].is_new and not found.troubles:
        progress(f"updating {wanted[chosen].name} under load")
        _update(plane, wanted[chosen], found.shown[chosen], found.troubles)
    barring.bar(lab, plane, wanted, found)
    found.seconds = time.monotonic() - begin
    return found


# --- one application --------------------------------------------------------------------------------------------------


def _deployed(plane: Plane, one: Planned, troubles: list[str]) -> Shown:
    shown = Shown(one.name, one.customer, names=_names(one))
    customer = customers.of(plane, one.customer)
    try:
        _bring_certificates(plane, one)
        plan = _said(ordered(plane, customer, ["deploy", str(one.folder), "--dry-run", "--format", "json"]))
        shown.is_new = not plan["same-software"]
        begin = time.monotonic()
        if shown.is_new:
            _said(ordered(plane, customer, ["deploy", str(one.folder), "--application", one.name, "--format", "json"]))
        visits = _sites(plane, one)
        if visits and not visiting.answers(visits[0], begin + ANSWER_SECONDS):
            troubles.append(f"{one.name} of {one.customer} answers nobody within {ANSWER_SECONDS:.0f} s")
        shown.seconds = time.monotonic() - begin if shown.is_new else 0.0
        answer = _settled(plane, one, troubles)
        shown.deployment, shown.places = answer["deployment"], _places(answer)
        shown.sites = sum(_answers(site, troubles) for site in visits)
    except RingfortError as error:
        troubles.append(f"{one.name} of {one.customer}: {error.message}")
    return shown


def _said(done: subprocess.CompletedProcess[str]) -> Any:  # noqa: ANN401  # whatever JSON a command said
    if done.returncode:
        words = " ".join(done.stderr.split()) or "no reason given"
        raise RingfortError("order-refused", f"{' '.join(done.args[3:5])}: {words}")
    return json.loads(done.stdout)


def _names(one: Planned) -> tuple[str, ...]:
    return tuple(endpoint.public_name for endpoint in one.application.endpoints if endpoint.public_name)


def _bring_certificates(plane: Plane, one: Planned) -> None:
    """Send the customer's own certificates for names that ask for one, and keep their roots, as its visitors do."""
    for endpoint in one.application.endpoints:
        root = _own_root(plane, endpoint.public_name)
        if endpoint.tls == "certificate" and not root.exists():
            pem, root_pem = public_names.own(one.customer, endpoint.public_name, datetime.now(UTC))
            chain = (pem + root_pem).decode()
            with customers.calling(plane, customers.of(plane, one.customer)) as client:
                form = {"chain": _certificates(chain), "key": _key(chain)}
                client.call("POST", f"/v1/customers/{one.customer}/public-certificates", form)
            state.write_private(root, root_pem)


def _own_root(plane: Plane, name: str) -> Path:
    return plane.directory / "customers" / f"{name}.root.pem"


_BEGIN, _END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----\n"


def _key(pem: str) -> str:
    return _BEGIN + pem.partition(_BEGIN)[2].partition(_END)[0] + _END


def _certificates(pem: str) -> str:
    return pem.replace(_key(pem), "")


def _sites(plane: Plane, one: Planned) -> list[Site]:
    """Every name of an application at every address of the gateway."""
    gateway = plane.environment.gateway
    visitor = namespace_name(plane.environment, VISITOR)
    entries = [entry for entry in plane.environment.published if gateway and entry.service == gateway.service]
    found = []
    for endpoint in one.application.endpoints:
        if endpoint.public_name:
            own = _own_root(plane, endpoint.public_name)
            roots = own.read_text() if endpoint.tls == "certificate" else public_names.root(plane)
            found += [Site(visitor, endpoint.public_name, entry.address, entry.port, roots) for entry in entries]
    return found


def _answers(site: Site, troubles: list[str]) -> bool:
    reason = "no answer"
    until = time.monotonic() + visiting.SECONDS
    while time.monotonic() < until:  # another gateway host may hear of it a little later
        try:
            status, _ = visiting.fetch(site)
        except OSError as error:
            reason = str(error)
        else:
            if status == 200:
                return True
            reason = f"status {status}"
        time.sleep(0.2)
    troubles.append(f"https://{site.name} at {site.address}: {reason}")
    return False


def _settled(plane: Plane, one: Planned, troubles: list[str]) -> dict[str, Any]:
    """The application, once all of its instances run what is in force, or when the time is over."""
    until = time.monotonic() + SETTLE_SECONDS
    with customers.calling(plane, customers.of(plane, one.customer)) as client:
        while True:
            answer: dict[str, Any] = client.get(f"/v1/customers/{one.customer}/applications/{one.name}")
            wanted = {"state": "running", "deployment": answer["deployment"]}
            waiting = [instance for instance in answer["instances"] if not wanted.items() <= instance.items()]
            if not waiting or time.monotonic() > until:
                break
            time.sleep(0.2)
    troubles += [f"{one.name} of {one.customer}: {each['instance']} is {each['state']}" for each in waiting]
    return answer


def _places(answer: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(instance.get("place", "") for instance in answer["instances"]))


def _update(plane: Plane, one: Planned, shown: Shown, troubles: list[str]) -> None:
    """Deploy it once more, while visitors ask."""
    words = ["deploy", str(one.folder), "--application", one.name, "--wait", str(SETTLE_SECONDS), "--format", "json"]
    with visiting.visited(tuple(_sites(plane, one)), VISITORS, PAUSE_SECONDS) as load:
        done = ordered(plane, customers.of(plane, one.customer), words)
    shown.load = load
    try:
        answer = _said(done)
        shown.deployment, shown.places = answer["deployment"], _places(answer)
    except RingfortError as error:
        troubles.append(error.message)
    if load.failures:
        reasons = ", ".join(f"{count} times {reason}" for reason, count in load.failed.items())
        troubles.append(f"{load.failures} of {load.requests} requests failed while {one.name} was updated: {reasons}")
