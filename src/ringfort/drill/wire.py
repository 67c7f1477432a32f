"""Send probes from inside the lab, and see which of them get through.

A probe is sent raw, out of the interface of the place it comes from: a packet socket passes the sender's own rules by,
which is what root on that machine can do. It got through when a raw socket on the receiver sees it: the kernel gives a
copy to raw sockets after the input hook has accepted the packet (``raw_local_deliver`` in net/ipv4/ip_input.c follows
NF_INET_LOCAL_IN), and never before. So a frame that merely arrives does not count.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ringfort.drill import fragments, frames
from ringfort.drill.attacks import Probe
from ringfort.drill.declaration import Place, PlaceKind
from ringfort.environment import topology
from ringfort.environment.topology import Device, DeviceKind
from ringfort.lab import plan
from ringfort.lab.lab import Lab

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; beyond net.core.rmem_max, as CAP_NET_ADMIN may
_RECEIVE_BUFFER_BYTES = 4 << 20
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A probe seen on a receiver: by its claimed source (packed) and source port."""

    receiver: Device
    source: bytes
    port: int


class Wire:
    """Raw sockets of a whole lab: one to send for each place, eight to listen on each receiver. Use ``with``."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stack = ExitStack()
        self._senders: dict[tuple[str, str], socket.socket] = {}
        self._outlets: dict[tuple[int, str], tuple[Place, socket.socket]] = {}
        self._templates: dict[int, tuple[Probe, frames.Template]] = {}
        self._receivers: dict[int, tuple[Device, int, int, socket.socket]] = {}
        self._poll = select.epoll()
        self._active = lab.active()
        self._escaped: frozenset[str] = frozenset()
        for device in topology.devices(lab.environment):
            if device.kind is DeviceKind.SANDBOX:
                self._listen(Device(DeviceKind.HOST, device.name))  # what the guest gets
            elif device.kind is not DeviceKind.SWITCH:
                self._listen(device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._poll.close()

    def _listen(self, device: Device) -> None:
        with self._lab.inside(device):
            for version, family in _FAMILIES.items():
                for protocol in frames.PROTOCOLS[version]:
                    opened = self._stack.enter_context(socket.socket(family, socket.SOCK_RAW, protocol))
                    opened.setblocking(False)
                    _give_room(opened)
                    self._receivers[opened.fileno()] = (device, version, protocol, opened)
                    self._poll.register(opened, select.EPOLLIN)

    @property
    def escaped(self) -> frozenset[str]:
        """The instances in whose name the hypervisor itself sends, past their sandboxes."""
        return self._escaped

    @escaped.setter
    def escaped(self, names: frozenset[str]) -> None:
        self._escaped = names
        self._outlets.clear()

    def activate(self, active: Mapping[str, str]) -> None:
        """Tell which router of each site is active now."""
        self._active = dict(active)
        self._outlets.clear()

    def forget(self) -> None:
        """Throw away what has been received so far."""
        self.arrivals()

    def send(self, tag: int, probe: Probe) -> None:
        """Send one probe."""
        if probe.kind in fragments.CUTS:
            ends = probe.source_mac, probe.destination_mac, probe.source, probe.destination
            for piece in fragments.cut(*ends, probe.kind, probe.port, tag):
                self._sender(probe).send(piece)
        else:
            self._sender(probe).send(self._template(probe).tagged(tag))

    def take_back(self, tag: int, probe: Probe) -> None:
        """End the half-open connection that a probe has left behind."""
        data = frames.reset(probe.source_mac, probe.destination_mac, probe.source, probe.destination, probe.port, tag)
        self._sender(probe).send(data)

    def arrivals(self) -> list[Arrival]:
        """The probes received since the last call."""
        found: list[Arrival] = []
        while events := self._poll.poll(0):
            for number, _ in events:
                found += self._drain(*self._receivers[number])
        return found

    def _drain(self, device: Device, version: int, protocol: int, opened: socket.socket) -> Iterable[Arrival]:
        while True:
            try:
                data, peer = opened.recvfrom(128)
            except BlockingIOError:
                return
            body = data[4 * (data[0] & 15) :] if version == 4 else data
            port = frames.port_of(protocol, body)
            if port is not None:
                yield Arrival(device, socket.inet_pton(_FAMILIES[version], peer[0].partition("%")[0]), port)

    def _template(self, probe: Probe) -> frames.Template:
        # By identity, and with the probe beside it so that nothing else gets its number: its hash takes as long as a
        # frame.
        known = self._templates.get(id(probe))
        if known is None:
            ends = probe.source_mac, probe.destination_mac, probe.source, probe.destination
            known = self._templates[id(probe)] = probe, frames.template(*ends, probe.kind, probe.port)
        return known[1]

    def _sender(self, probe: Probe) -> socket.socket:
        key = id(probe.place), probe.interface
        known = self._outlets.get(key)
        if known is None:
            known = self._outlets[key] = probe.place, self._opened(probe)
        return known[1]

    def _opened(self, probe: Probe) -> socket.socket:
        namespace, interface = self._outlet(probe)
        key = (str(namespace), interface)
        if key not in self._senders:
            with self._lab.inside(namespace):
                # Protocol 0: it receives nothing.
                opened = self._stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
                opened.bind((interface, 0))
            self._senders[key] = opened
        return self._senders[key]

    def _outlet(self, probe: Probe) -> tuple[Device | str, str]:
        """The namespace and interface that a probe leaves by; from the internet, the provider's port to the router."""
        name = probe.place.name
        if probe.place.kind is PlaceKind.HOST and name in self.escaped:
            return Device(DeviceKind.SANDBOX, name), topology.SANDBOX_UPLINK
        if probe.place.kind is PlaceKind.HOST:
            return Device(DeviceKind.HOST, name), topology.HOST_INTERFACE
        if probe.place.kind is PlaceKind.ROUTER:
            return Device(DeviceKind.ROUTER, name), probe.interface
        environment = self._lab.environment
        router = self._active[environment.providers[name].site]
        return plan.INTERNET, plan.provider_port(environment, name, router)


def _give_room(opened: socket.socket) -> None:
    """A large receive buffer; in a user namespace as large as the machine allows everybody."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
