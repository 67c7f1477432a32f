"""How long a person waits: `up`, `verify --live`, `drill` and `down` of the example, as commands from start to exit.

    .venv/bin/python -m benchmarks.end_to_end

Exits with 1 when a command takes longer than promised or fails.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = "examples/shop/environment.yaml"


@dataclass(frozen=True, slots=True)
class Step:
    """A command and the seconds promised for it; 0 when nothing is."""

    name: str
    words: tuple[str, ...]
    promised_seconds: float


STEPS = (
    Step("check", ("check",), 0),
    Step("verify", ("verify",), 0),
    Step("up, from nothing", ("up", "--no-applications"), 20),
    Step("up, nothing to change", ("up", "--no-drill", "--no-applications"), 20),
    Step("up, applications", ("up", "--no-drill"), 0),
    Step("verify --live", ("verify", "--live"), 3),
    Step("drill", ("drill",), 120),
    Step("down", ("down",), 0),
)


def seconds(words: tuple[str, ...], environment: str) -> tuple[float, float]:
    """How long a command takes, and how much processor time; its output is kept for when it fails."""
    verb, *options = words
    command = [sys.executable, "-m", "ringfort", verb, environment, *options]
    started, used = time.monotonic(), processor_seconds()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    taken = time.monotonic() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-2000:]}")
    return taken, processor_seconds() - used


def processor_seconds() -> float:
    """Processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", default=EXAMPLE)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--skip", action="append", default=[], metavar="COMMAND", help="leave a row out, as `drill`")
    options = parser.parse_args()
    steps = [step for step in STEPS if step.name not in options.skip]
    taken: dict[str, list[tuple[float, float]]] = {step.name: [] for step in steps}
    subprocess.run(
        [sys.executable, "-m", "ringfort", "down", options.environment], cwd=ROOT, capture_output=True, check=False
    )
    for _ in range(options.rounds):
        for step in steps:
            taken[step.name].append(seconds(step.words, options.environment))
    if options.json:
        print(json.dumps(taken))
    else:
        print("| Command | median | largest | processor, median | promised |\n|---|---|---|---|---|")
        for step in steps:
            promise = f"{step.promised_seconds:.0f} s" if step.promised_seconds else ""
            wall, processor = zip(*taken[step.name], strict=True)
            middle = statistics.median(processor)
            print(f"| {step.name} | {statistics.median(wall):.1f} s | {max(wall):.1f} s | {middle:.1f} s | {promise} |")
    late = [
        step.name
        for step in steps
        if step.promised_seconds and statistics.median(wall for wall, _ in taken[step.name]) > step.promised_seconds
    ]
    if late:
        sys.exit(f"slower than promised: {', '.join(late)}")


if __name__ == "__main__":
    main()
