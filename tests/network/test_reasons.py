"""Each reason of refusing is counted, logged and explained under its own name."""

from __future__ import annotations

import pytest

from ringfort.environment.topology import Device
from ringfort.network.compile import compile_device
from ringfort.network.names import LOG_PREFIX_LIMIT_BYTES
from ringfort.network.reasons import HOST_REASONS, ROUTER_REASONS, SANDBOX_REASONS, SWITCH_REASONS, Reason
from tests.network.worlds import example, host, objects, router, rules, sandbox, switch


@pytest.mark.parametrize(
    ("world", "device", "reasons"),
    [
        ("small", router("r1"), ROUTER_REASONS),
        ("small", switch("north/edge"), SWITCH_REASONS),
        ("small", host("web"), HOST_REASONS),
        ("guests", sandbox("acme"), SANDBOX_REASONS),
    ],
    ids=["router", "switch", "host", "sandbox"],
)
def test_a_device_counts_logs_and_drops_for_each_of_its_reasons(
    world: str, device: Device, reasons: tuple[Reason, ...]
) -> None:
    document = compile_device(example(world), device).document
    counted = {name for name in objects(document, "counter") if not name.startswith("flow-")}
    assert counted == {reason.name for reason in reasons}
    for reason in reasons:
        (rule,) = rules(document, reason.chain)
        assert rule == [
            {"counter": reason.name},
            {"log": {"prefix": f"ringfort {reason.name}: ", "group": 5}},
            {"drop": None},
        ]


def test_log_prefixes_fit() -> None:
    for reason in (*ROUTER_REASONS, *SWITCH_REASONS, *HOST_REASONS, *SANDBOX_REASONS):
        assert len(reason.log_prefix.encode()) <= LOG_PREFIX_LIMIT_BYTES


def test_no_reason_is_mistaken_for_a_flow() -> None:
    assert not any(
        reason.name.startswith("flow-")
        for reason in (*ROUTER_REASONS, *SWITCH_REASONS, *HOST_REASONS, *SANDBOX_REASONS)
    )
