"""Many nodes on one machine, as in a lab: everything is loaded once, then one process is forked for each.

``python -m ringfort.node.spawn FILE`` reads a JSON list of `Start` and says ``NAME PID`` for each as it is started.
Each is a session of its own, in its namespace, with its output in a file; memory that nobody writes to is shared.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ringfort.errors import RingfortError
from ringfort.kernel import netns, nft
from ringfort.node.run import run
from ringfort.publishing.files import replace_file


@dataclass(frozen=True, slots=True)
class Start:
    """One node: its configuration file, the named network namespace to run in (``""``: this one), where to put its
    process id and its output."""

    name: str
    configuration: str
    namespace: str
    pid_file: str
    log: str


def spawn(starts: Iterable[Start]) -> Iterator[tuple[str, int]]:
    """Fork a node for each; its name and process id. Call it from a process with one thread and nothing else to do."""
    nft.require()
    gc.collect()
    gc.freeze()  # what is there now is never looked at again, so its pages stay shared
    for start in starts:
        pid = os.fork()
        if pid == 0:
            os._exit(_child(start))
        yield start.name, pid


def _child(start: Start) -> int:
    """What the forked process does, to its end."""
    try:
        os.setsid()
        os.umask(0o077)
        _redirect(start.log)
        if start.namespace:
            netns.enter(start.namespace)
        replace_file(Path(start.pid_file), f"{os.getpid()}\n".encode(), 0o600)
        run(Path(start.configuration))
    except RingfortError as error:
        os.write(2, f"<3>{error.code}: {error.message}\n".encode(errors="replace"))
        return error.exit_code
    except BaseException as error:  # noqa: BLE001  # a forked process must not go on as its parent
        os.write(2, f"<3>it ends: {error!r}\n".encode(errors="replace"))
        return 70
    return 0


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, 1024)


def main() -> None:
    """See the module."""
    starts = [Start(**entry) for entry in json.loads(Path(sys.argv[1]).read_bytes())]
    for name, pid in spawn(starts):
        sys.stdout.write(f"{name} {pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
