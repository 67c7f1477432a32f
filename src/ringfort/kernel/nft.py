"""Rulesets in and out of the kernel through libnftables, without a process for each.

A context talks to the namespace in which it was made, so every call enters the device's namespace first.
"""

from __future__ import annotations

import ctypes
import json
from functools import cache
from typing import Any

from ringfort.errors import RingfortError
from ringfort.kernel.netns import inside

_OUTPUT_JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON, nftables/libnftables.h


@cache
def _library() -> ctypes.CDLL:
    name = "libnftables.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise RingfortError("no-libnftables", f"{name} is missing", "install the package libnftables1") from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for function in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, function).argtypes = [ctypes.c_void_p]
    for function in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, function).argtypes = [ctypes.c_void_p]
        getattr(library, function).restype = ctypes.c_char_p
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def require() -> None:
    """Make sure that libnftables is there.

    Raises:
        RingfortError: it is not; says what to install.
    """
    _library()


def run(namespace: str, commands: str, *, as_json: bool = False) -> str:
    """Run nft commands inside a namespace, as one transaction; what ``nft`` would print.

    Raises:
        RingfortError: the kernel or the parser refuses; nothing of the transaction is kept.
    """
    library = _library()
    with inside(namespace):
        context = library.nft_ctx_new(0)
        if not context:
            raise RingfortError("nft-failed", "libnftables gives no context")
        try:
            library.nft_ctx_buffer_output(context)
            library.nft_ctx_buffer_error(context)
            if as_json:
                library.nft_ctx_output_set_flags(context, _OUTPUT_JSON)
            failed = library.nft_run_cmd_from_buffer(context, commands.encode())
            if failed:
                text = library.nft_ctx_get_error_buffer(context).decode(errors="replace").strip()
                raise RingfortError(
                    "nft-failed", f"{namespace or 'this host'}: nft refuses: {text or 'no reason given'}"
                )
            output: bytes = library.nft_ctx_get_output_buffer(context)
            return output.decode()
        finally:
            library.nft_ctx_free(context)


def ruleset(namespace: str) -> dict[str, Any]:
    """The whole ruleset of a namespace, as ``nft --json list ruleset`` gives it."""
    return _document(run(namespace, "list ruleset", as_json=True))


def counters(namespace: str) -> dict[str, int]:
    """Packets of every named counter of a namespace."""
    return {name: packets for table in counters_by_table(namespace).values() for name, packets in table.items()}


def counters_by_table(namespace: str) -> dict[tuple[str, str], dict[str, int]]:
    """Packets of every named counter of a namespace, by family and name of its table."""
    document = _document(run(namespace, "list counters", as_json=True))
    found: dict[tuple[str, str], dict[str, int]] = {}
    for entry in document["nftables"]:
        if "counter" in entry:
            counter = entry["counter"]
            found.setdefault((counter["family"], counter["table"]), {})[counter["name"]] = counter["packets"]
    return found


def _document(text: str) -> dict[str, Any]:
    document = json.loads(text)
    assert isinstance(document, dict)
    return document
