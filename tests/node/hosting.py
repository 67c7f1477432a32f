"""A node with places for instances, as a real process, at a real controller; customers deploy to it."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ringfort.control.errors import ControlError
from ringfort.kernel.netns import inside
from ringfort.lab import netns
from ringfort.node import configuration
from ringfort.node.enrolment import enrol
from ringfort.node.hosting import memory_of
from tests.control.places import Places
from tests.control.running import DOMAIN, Ground, Running, running
from tests.control.shops import Customer, customer

NODE = "metal-1"
ADDRESS, CALLED = "10.1.3.9", "10.1.9.9"
"""Of a place, and of somebody beyond it."""

PATIENCE = 150.0


class World:
    """One hypervisor with places ``metal-1-p0`` and ``metal-1-p1`` of customer acme."""

    def __init__(self, directory: Path, controller: Running) -> None:
        self.directory, self.controller = directory, controller
        self.name = f"h{os.getpid()}"
        self.places = Places(controller.ground)
        self.places.add(NODE, "acme acme")
        first = self.places.form()
        controller.operator("nora").call("POST", "/v1/environment/publications", first, reason="CHG-1")
        self.root = base64.b64decode(first["root"])
        self.state = directory / "node"
        self.configuration = directory / "node.toml"
        self.spaces = {f"host:{NODE}": f"rf-{self.name}.h"}
        self.spaces |= {f"sandbox:{place}": f"rf-{self.name}.{place}.s" for place in self.names}
        self.process: subprocess.Popen[bytes] | None = None
        self.acme: Customer = customer(controller, directory, "acme")

    @property
    def names(self) -> list[str]:
        return [f"{NODE}-p0", f"{NODE}-p1"]

    def space(self, place: str) -> str:
        return f"rf-{self.name}.{place}"

    def outside(self, place: str) -> str:
        return f"{self.space(place)}.o"

    def configure(self) -> None:
        lines = [
            f'name = "{NODE}"',
            f'trust-domain = "{DOMAIN}"',
            f'controllers = ["127.0.0.1:{self.controller.platform.port}"]',
            f'state = "{self.state}"',
            f'runtime = "{self.directory / "run"}"',
            "sysctl = false",
            'enforcement-point = ""',
            "[devices]",
            *(f'"{device}" = "{space}"' for device, space in self.spaces.items()),
            "[places]",
            *(f'{place} = "{self.space(place)}"' for place in self.names),
        ]
        self.configuration.write_text("\n".join(lines) + "\n")

    def enrol(self) -> None:
        form = {"node": NODE, "site": "north", "addresses": ["127.0.0.1"]}
        made = self.controller.operator("nora").call("POST", "/v1/enrolment-tokens", form, reason="T-1")
        enrol(configuration.read(self.configuration), made["token"], self.root)

    def start(self) -> None:
        with (self.directory / "node.log").open("ab") as log:
            command = [sys.executable, "-m", "ringfort.node", str(self.configuration)]
            self.process = subprocess.Popen(command, stderr=log, stdout=log, stdin=subprocess.DEVNULL)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def log(self) -> str:
        return (self.directory / "node.log").read_text()

    # --- what is seen of instances ---

    def instances(self, name: str = "web") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.of_acme("GET", f"/applications/{name}")["instances"]
        return found

    def of_acme(self, method: str, path: str) -> Any:  # noqa: ANN401  # JSON
        """A call of the customer's, once more if its connection was closed because nobody used it for long."""
        try:
            return self.acme.call(method, path)
        except ControlError:
            return self.acme.call(method, path)

    def place(self) -> str:
        """The place of the only instance that runs, once it does."""

        def there() -> str | None:
            shown = [one for one in self.instances() if one["state"] == "running"]
            return str(shown[0]["place"]) if shown else None

        found: str = self.until(there)
        return found

    def ask(self, place: str, path: str = "/", body: str = "") -> tuple[int, str]:
        """A request as the place's enforcement point hands it on. Status 0 when nobody answers."""
        with inside(self.space(place)):
            connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=3)
            try:
                connection.request("POST" if body else "GET", path, body or None)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError as error:
                return 0, str(error)
            finally:
                connection.close()

    def machines(self) -> list[int]:
        """The process ids of this node's virtual machines."""
        found = []
        for directory in Path("/proc").iterdir():
            try:
                words = (directory / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"qemu-system-x86_64" in words[0] and self._is_mine(directory):
                found.append(int(directory.name))
        return found

    def _is_mine(self, directory: Path) -> bool:
        from ringfort.node.instances.house import House

        house = House.of(self.state, {}, lambda: None)  # type: ignore[arg-type, return-value]
        own = {house.account(one) for one in self.known}
        try:
            return directory.stat().st_uid in own
        except OSError:
            return False

    @property
    def known(self) -> list[str]:
        return [one["instance"] for one in self.instances()]

    def until(self, what: Callable[[], Any], seconds: float = PATIENCE) -> Any:  # noqa: ANN401
        """What comes true in time."""
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, self.log()[-3000:]
            time.sleep(0.05)
        return found

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        shutil.rmtree(memory_of(self.state), ignore_errors=True)
        for space in (*self.spaces.values(), *map(self.space, self.names), *map(self.outside, self.names)):
            netns.delete(space)


@contextmanager
def world(directory: Path) -> Iterator[World]:
    """One, with its node running."""
    with running(Ground(directory)) as controller:
        made = World(directory, controller)
        netns.prepare_directory()
        try:
            for space in made.spaces.values():
                netns.create(space, made.name)
            for place in made.names:
                netns.create(made.space(place), made.name)
                netns.create(made.outside(place), made.name)
                _address(made.space(place), made.outside(place))
            made.configure()
            made.enrol()
            made.start()
            yield made
        finally:
            made.close()


def _address(space: str, outside: str) -> None:
    """What the lab or an operator gives a place: its loopback, and an interface with its address; here also somebody
    whom it can call."""
    for name, words in (
        (space, "link set lo up"),
        (space, f"link add eth0 type veth peer name peer netns {outside}"),
        (space, f"addr add {ADDRESS}/32 dev eth0"),
        (outside, f"addr add {CALLED}/32 dev peer"),
        (space, "link set eth0 up"),
        (outside, "link set peer up"),
        (space, f"route add {CALLED}/32 dev eth0"),
        (outside, f"route add {ADDRESS}/32 dev peer"),
    ):
        subprocess.run(["ip", "-n", name, *words.split()], check=True)
