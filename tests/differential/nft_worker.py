"""libnftables by ctypes in a process of its own, so that a ruleset loads in a millisecond, and nft may crash.

One line of JSON in, ``[flags, commands]``; one out, ``[status, output, error]``. nft 1.0.6 aborts on listing some
rules (an assertion in payload_expr_complete); the caller then starts another worker.
"""

from __future__ import annotations

import ctypes
import json
import sys


def main() -> None:
    """Serve until the input ends."""
    library = ctypes.CDLL("libnftables.so.1")
    library.nft_ctx_new.restype = ctypes.c_void_p
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    context = library.nft_ctx_new(0)
    library.nft_ctx_buffer_output(context)
    library.nft_ctx_buffer_error(context)
    for line in sys.stdin:
        flags, commands = json.loads(line)
        library.nft_ctx_output_set_flags(context, flags)
        status = library.nft_run_cmd_from_buffer(context, commands.encode())
        output = library.nft_ctx_get_output_buffer(context).decode()
        error = library.nft_ctx_get_error_buffer(context).decode()
        sys.stdout.write(json.dumps([status, output, error]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
