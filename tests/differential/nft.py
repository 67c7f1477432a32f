"""nft in a network namespace, and stepping into one."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_CLONE_NEWNET = 0x40000000
_OUTPUT_JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON, nftables/libnftables.h


class NftError(Exception):
    """nft refused a command."""


class NftCrashError(Exception):
    """nft itself crashed."""


class Namespace:
    """A network namespace this process can step into: ``with namespace: ...``."""

    _libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, path: str) -> None:
        self._home = open("/proc/self/ns/net", "rb")  # noqa: SIM115 - kept open, to come back
        self._there = open(path, "rb")  # noqa: SIM115

    def close(self) -> None:
        """Let go of the namespace."""
        self._home.close()
        self._there.close()

    def __enter__(self) -> Self:
        self._enter(self._there.fileno())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._enter(self._home.fileno())

    def _enter(self, descriptor: int) -> None:
        if self._libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


class Nft:
    """nft in one namespace, by a worker that is started again when it crashes.

    Raises:
        NftError: a command was refused.
        NftCrashError: the worker died.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._worker = self._start()

    def _start(self) -> subprocess.Popen[str]:
        with self._namespace:
            return subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("nft_worker.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )

    def close(self) -> None:
        """End the worker."""
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.close()
        self._worker.wait()
        self._worker.stdout.close()

    def run(self, commands: str) -> str:
        """Run commands as one transaction; what they print."""
        return self._run(commands, 0)

    def query(self, command: str) -> list[dict[str, Any]]:
        """The objects a ``list`` command gives."""
        document = json.loads(self._run(command, _OUTPUT_JSON))
        objects = document["nftables"]
        assert isinstance(objects, list)
        return objects

    def _run(self, commands: str, flags: int) -> str:
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps([flags, commands]) + "\n")
        self._worker.stdin.flush()
        answer = self._worker.stdout.readline()
        if not answer:
            self.close()
            self._worker = self._start()
            raise NftCrashError(commands)
        status, output, error = json.loads(answer)
        if status != 0:
            raise NftError(error)
        assert isinstance(output, str)
        return output
