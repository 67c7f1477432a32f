"""A lab's devices have the settings that their rules rely on, from one place; their nodes keep them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfort.lab import plan
from ringfort.network.sysctl import sysctl_settings
from tests.lab import worlds


def test_what_up_sets_and_what_a_node_keeps_never_disagree(tmp_path: Path) -> None:
    environment = worlds.environment(tmp_path, worlds.SMALL, "agree")
    for namespace in plan.plan(environment, plan.active_routers(environment)).values():
        if namespace.device is None:
            continue
        kept, first = sysctl_settings(environment, namespace.device), dict(namespace.sysctls)
        assert {key: kept[key] for key in kept.keys() & first.keys()} == {
            key: first[key] for key in kept.keys() & first.keys()
        }
        general = {key for key in kept if ".conf." not in key or ".all." in key or ".default." in key}
        assert general <= first.keys(), "each interface begins with the defaults"


@pytest.mark.parametrize("key", ["net.ipv4.conf.all.rp_filter", "net.ipv4.ip_forward"])
def test_no_setting_is_written_twice(tmp_path: Path, key: str) -> None:
    environment = worlds.environment(tmp_path, worlds.SMALL, "once")
    for namespace in plan.plan(environment, plan.active_routers(environment)).values():
        assert sum(other == key for other, _ in namespace.sysctls) <= 1
