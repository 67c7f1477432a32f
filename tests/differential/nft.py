"""libnftables by ctypes: one long-lived handle, so that a ruleset loads in a millisecond instead of ten."""

from __future__ import annotations

import ctypes
import json
from types import TracebackType
from typing import Any, Self

_CLONE_NEWNET = 0x40000000
_OUTPUT_JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON, nftables/libnftables.h


class NftError(Exception):
    """nft refused a command."""


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
    """nft in one namespace.

    Raises:
        NftError: a command was refused.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        library = ctypes.CDLL("libnftables.so.1")
        library.nft_ctx_new.restype = ctypes.c_void_p
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
            getattr(library, name).restype = ctypes.c_char_p
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library = library
        with namespace:
            self._context = library.nft_ctx_new(0)
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        """Free the handle."""
        self._library.nft_ctx_free(self._context)

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
        library = self._library
        library.nft_ctx_output_set_flags(self._context, flags)
        with self._namespace:
            status = library.nft_run_cmd_from_buffer(self._context, commands.encode())
        output: bytes = library.nft_ctx_get_output_buffer(self._context)
        error: bytes = library.nft_ctx_get_error_buffer(self._context)
        if status != 0:
            raise NftError(error.decode())
        return output.decode()
