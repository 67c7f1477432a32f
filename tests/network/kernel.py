"""Network namespaces of a test's own, and what nft says in them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from ringfort.network.nft import Json

_number = count()


class Namespace:
    """One network namespace."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        command = ["ip", "netns", "exec", self.name, *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)

    def must(self, *words: str, text: str | None = None) -> str:
        """Run a command that must succeed; what it prints."""
        done = self.run(*words, text=text)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def load(self, text: str) -> None:
        self.must("nft", "--file", "-", text=text)

    def flush(self) -> None:
        self.must("nft", "flush", "ruleset")

    def document(self) -> Json:
        return json.loads(self.must("nft", "--json", "list", "ruleset"))

    def counters(self) -> dict[str, int]:
        """Packets of every named counter."""
        listed = json.loads(self.must("nft", "--json", "list", "counters"))["nftables"]
        return {entry["counter"]["name"]: entry["counter"]["packets"] for entry in listed if "counter" in entry}


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace that is gone afterwards."""
    name = f"rf-net-{os.getpid()}-{next(_number)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        made = Namespace(name)
        made.must("ip", "link", "set", "lo", "up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
