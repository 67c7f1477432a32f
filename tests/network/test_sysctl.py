"""Kernel settings: what forwards, and what nobody can talk a device into."""

from __future__ import annotations

import pytest

from ringfort.environment.topology import Device
from ringfort.network.sysctl import sysctl_settings, sysctl_text
from tests.network.kernel import namespace
from tests.network.worlds import example, host, router, switch

EVERY = (router("r1"), switch("north/edge"), host("web"))


def test_routers_forward_and_others_do_not() -> None:
    forwards = [sysctl_settings(example("small"), device)["net.ipv4.ip_forward"] for device in EVERY]
    assert forwards == ["1", "0", "0"]


@pytest.mark.parametrize("device", EVERY, ids=str)
def test_nobody_is_told_other_routes_or_addresses(device: Device) -> None:
    settings = sysctl_settings(example("small"), device)
    for key in ("ipv4.conf.all.accept_redirects", "ipv6.conf.all.accept_redirects", "ipv6.conf.all.accept_ra"):
        assert settings[f"net.{key}"] == "0"


def test_settings_are_made_for_interfaces_that_are_already_there() -> None:
    assert "net.ipv4.conf.eth0.accept_redirects" in sysctl_settings(example("small"), host("web"))
    assert "net.ipv4.conf.alpha.rp_filter" in sysctl_settings(example("small"), router("r1"))


def test_switched_frames_are_not_judged_again_as_routed_packets() -> None:
    assert sysctl_settings(example("small"), switch("north/edge"))["net.bridge.bridge-nf-call-iptables"] == "0"


@pytest.mark.lab
@pytest.mark.parametrize("device", EVERY, ids=str)
def test_the_kernel_holds_the_settings_once_all_are_applied(device: Device) -> None:
    """Some settings reset others, so their order matters."""
    settings = {
        key: value
        for key, value in sysctl_settings(example("small"), device).items()
        if not key.startswith(("net.bridge", "net.netfilter"))
        and (".conf." not in key or ".all." in key or ".default." in key)
    }
    with namespace() as machine:
        machine.run("sysctl", "--ignore", "--load", "-", text=sysctl_text(example("small"), device))
        held = {key: machine.must("sysctl", "--values", key).strip() for key in settings}
    assert held == settings
