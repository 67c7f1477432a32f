"""``python -m ringfort.node FILE``: a node and nothing else in memory; ``ringfort node run`` becomes this."""

from __future__ import annotations

import sys
from pathlib import Path

from ringfort.errors import RingfortError
from ringfort.node.run import run


def main() -> int:
    """Run the node of a configuration file; the exit code."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m ringfort.node FILE\n")
        return 2
    try:
        run(Path(sys.argv[1]))
    except RingfortError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        sys.stderr.write(f"error: {error.message} [{error.code}]{hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
