"""Large environments load in time that grows with their size, not with its square."""

from __future__ import annotations

import resource
import time

import pytest

from ringfort.environment.load import load_text
from ringfort.environment.model import Environment
from ringfort.environment.topology import legs, ports


def large(segments: int, hosts: int, written_out: bool) -> str:
    """An environment of ten sites: ``segments`` in all, with ``hosts`` each, calling from segment to segment."""
    lines = ["environment: large", "trust-domain: large.example", "backbone: {networks: [172.31.0.0/16]}", "sites:"]
    entries, services, flows = [], [], []
    for site in range(10):
        lines += [
            f"  s{site}:",
            f"    blocks: [10.{site}.0.0/16]",
            f"    routers: [s{site}-r1, s{site}-r2]",
            "    segments:",
        ]
        for number in range(segments // 10):
            key = f"s{site}-g{number}"
            network = f"10.{site}.{number * 2}.0/23"
            lines.append(f"      g{number}: {{tier: back-end, networks: [{network}]}}")
            keys = f"site: s{site}, segment: g{number}, services: [{key}], labels: {{row: r{number % 7}}}"
            if written_out:
                entries += [f"  {key}-{host}: {{{keys}}}" for host in range(hosts)]
            else:
                entries.append(f"  {key}: {{count: {hosts}, {keys}}}")
            services.append(f"  {key}: {{protocol: tcp, ports: [443], tls: mutual}}")
            flows.append(f"  - {{from: s{site}-g{(number + 1) % (segments // 10)}, to: {key}}}")
    return "\n".join([*lines, "hosts:", *entries, "services:", *services, "flows:", *flows])


def loaded(segments: int, hosts: int, written_out: bool, seconds: float) -> Environment:
    text = large(segments, hosts, written_out)
    start = time.process_time()
    environment = load_text(text)
    assert time.process_time() - start < seconds
    assert len(environment.hosts) == segments * hosts
    return environment


def test_ten_thousand_hosts_in_a_thousand_segments_load_in_a_few_seconds() -> None:
    environment = loaded(1000, 10, written_out=True, seconds=6)
    start = time.process_time()
    assert sum(len(ports(environment, key)) for key in environment.segments) == 1000 * (10 + 2)
    assert sum(len(legs(environment, site)) for site in environment.sites) == 1000 + 10
    assert time.process_time() - start < 2


def test_a_hundred_thousand_hosts_load_well_within_a_minute() -> None:
    loaded(1000, 100, written_out=False, seconds=30)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * 1024 * 1024, "KiB"


@pytest.mark.parametrize("written_out", [True, False])
def test_the_time_grows_with_the_size(written_out: bool) -> None:
    """Four times the segments and hosts take less than eight times the time; the square would be sixteen."""

    def seconds(segments: int) -> float:
        text = large(segments, 20, written_out)
        start = time.process_time()
        load_text(text)
        return time.process_time() - start

    seconds(20)  # warms what is cached at the first use
    assert seconds(480) < 8 * min(seconds(120), seconds(120), seconds(120)) + 0.2
