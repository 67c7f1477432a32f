"""`python -m benchmarks` runs every measurement, one after the other, and prints where, when and what."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

MEASUREMENTS = (
    "benchmarks.ruleset_containment",
    "benchmarks.environment_scale",
    "benchmarks.node_part",
    "benchmarks.node",
    "benchmarks.audit_log",
    "benchmarks.api",
    "benchmarks.placing",
    "benchmarks.enforcement_point",
    "benchmarks.gateway",
    "benchmarks.sandbox",
    "benchmarks.hostile",
    "benchmarks.deploy",
    "benchmarks.router_throughput",
    "benchmarks.end_to_end",
)
"""Modules with a command line of their own, in the order of docs/benchmarks.md."""


def machine() -> str:
    """The machine, in a line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GiB, {versions}"


def main() -> None:
    """Run them all, or those named on the command line; go on when one fails and say so at the end."""
    wanted = [f"benchmarks.{name}" for name in sys.argv[1:]] or MEASUREMENTS
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine()}")
    failed = []
    for name in wanted:
        print(f"\n## python -m {name}", flush=True)
        if subprocess.run([sys.executable, "-m", name], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed or slower than promised: {', '.join(failed)}")


if __name__ == "__main__":
    main()
