"""Counters read quickly are the counters that nft lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfort.drill.counters import Counters
from ringfort.environment.topology import Device, DeviceKind, devices
from ringfort.lab.lab import Lab
from tests.drill import worlds
from tests.lab import worlds as labs

pytestmark = pytest.mark.lab


def test_every_named_counter_of_every_device_is_read_as_nft_lists_it(tmp_path: Path) -> None:
    with Lab(labs.environment(tmp_path, worlds.HOLDS, "counters")) as lab:
        try:
            lab.up()
            with Counters(lab, devices(lab.environment)) as counters:
                first = {device: counters.read(device) for device in devices(lab.environment)}
                assert first == {device: lab.counters(device) for device in devices(lab.environment)}
                assert all(first.values())
                router = Device(DeviceKind.ROUTER, "r1")
                lab.disable("router-filter:r1")
                assert counters.read(router) == {}
        finally:
            lab.down()
