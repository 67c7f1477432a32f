"""The gateway's HAProxy on a host (`ringfort.gateway.edge`), in the host's network namespace. For one thread."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from ringfort.environment.topology import interface_name
from ringfort.gateway import process
from ringfort.gateway.edge import running, servers
from ringfort.gateway.edge.model import Edge, Inside
from ringfort.gateway.edge.render import Place, render
from ringfort.gateway.glance import glance
from ringfort.gateway.haproxy import Configuration
from ringfort.gateway.runtime import RuntimeRefusedError
from ringfort.kernel.netns import inside
from ringfort.kernel.processes import Process
from ringfort.node import guarding
from ringfort.node.gates import Gate
from ringfort.node.membership import lists_file, roots_file
from ringfort.node.public import Public, edge_of
from ringfort.publishing.files import replace_file


class Edges:
    """One host's.

    Args:
        state, runtime: the node's directories.
        namespace: where the host is.
        certificate: gives the file with the certificate of a public name, or "" while there is none.
    """

    def __init__(
        self, state: Path, runtime: Path, host: str, namespace: str, certificate: Callable[[str], str]
    ) -> None:
        self._state, self._host, self._namespace, self._certificate = state, host, namespace, certificate
        self._place = Place(str(runtime / f"edge-{interface_name(host)}"), process.account())
        self._edge: Edge | None = None
        self._wanted: Configuration | None = None
        self._seen: object = None
        self._process: Process | None = None
        self._descriptor = -1

    def missing(self, gate: Gate) -> str:
        """What there has to be before instances can be reached; "" for nothing."""
        own = guarding.certificate(self._state, self._host, gate.service)
        needed = {own: f"certificate of {gate.service}", self._lists: "revocation list", self._roots: "trust bundle"}
        return " nor ".join(words for path, words in needed.items() if not path.exists())

    def put(self, public: Public, gate: Gate) -> dict[str, str]:
        """Serve this and nothing else, without dropping a connection; public names that get no TLS now, and why.

        Raises:
            RingfortError: it cannot; what was served before goes on.
        """
        own = guarding.certificate(self._state, self._host, gate.service)
        towards = Inside(str(own), str(self._roots), str(self._lists))
        self._edge = None
        edge = edge_of(public, gate, towards, self._certificate)
        Path(self._place.directory).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with inside(self._namespace):
            # Who leaves has had its time when its node ends it, and who comes has been found well there.
            applied = running.apply(edge, self._place, _write, leave=0, come=None)
        self._edge = edge
        self._wanted = render(running.with_usable_certificates(edge)[0], self._place)
        self._seen = self._glance()
        self._follow()
        return applied.without

    def is_as_put(self) -> bool:
        """Whether exactly that is served."""
        process.reap()
        if self._edge is None:
            return True
        seen = self._glance()
        if seen is not None and seen == self._seen and self._process is not None and self._process.is_running:
            return True
        with inside(self._namespace):
            is_current = running.is_current(self._edge, self._place)
        if is_current:
            self._seen = seen
            self._follow()
        return is_current

    def _glance(self) -> object:
        """What tells one state from another, at little cost; None when nobody answers."""
        assert self._wanted is not None
        try:
            return glance(self._wanted, self._place), servers.standing(self._place)
        except RuntimeRefusedError:
            return None

    def end(self) -> None:
        """Serve nobody any more."""
        self._edge = self._wanted = self._seen = None
        process.end(self._place)
        self._follow()

    def fileno(self) -> int:
        """A descriptor that poll(2) finds readable once the process has ended; -1 if there is none."""
        return self._descriptor

    def close(self) -> None:
        """Let go of it; it goes on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def _roots(self) -> Path:
        return roots_file(self._state / "identity")

    @property
    def _lists(self) -> Path:
        return lists_file(self._state / "identity")

    def _follow(self) -> None:
        """Hear of the end of the process that runs now."""
        found = process.running(self._place) if self._edge is not None else None
        if found == self._process:
            return
        self.close()
        self._process = found
        if found is not None:
            with contextlib.suppress(OSError):  # it ended just now: the next look finds out
                self._descriptor = os.pidfd_open(found.pid)


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        replace_file(path, content, 0o600)
