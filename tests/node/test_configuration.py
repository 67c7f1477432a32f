"""A node's configuration says little, and nothing that is misspelt is passed over."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from ringfort.errors import RingfortError
from ringfort.node.configuration import from_document, read

SOUND: dict[str, Any] = {"name": "web", "trust-domain": "shop.example", "controllers": ["10.1.2.3:9440"]}


def test_a_machine_without_a_list_is_one_host_in_its_own_namespace() -> None:
    assert dict(from_document(SOUND).places) == {"host:web": ""}


def test_controllers_are_addresses_with_or_without_a_port() -> None:
    texts = ["10.1.2.3", "10.1.2.3:1", "fd00::1", "[fd00::1]:2", "[fd00::1]"]
    assert from_document({**SOUND, "controllers": texts}).controllers == (
        (ip_address("10.1.2.3"), 9440),
        (ip_address("10.1.2.3"), 1),
        (ip_address("fd00::1"), 9440),
        (ip_address("fd00::1"), 2),
        (ip_address("fd00::1"), 9440),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"name": ""}, "name is missing", id="no name"),
        pytest.param({"controllers": []}, "controllers is missing", id="no controllers"),
        pytest.param({"controllers": ["control.example"]}, "is no controller", id="a name for an address"),
        pytest.param({"controllers": ["10.1.2.3:70000"]}, "is no controller", id="no port"),
        pytest.param({"controllers": [7]}, "is no controller", id="a number"),
        pytest.param({"controller": ["10.1.2.3"]}, "unknown key 'controller'", id="an unknown key"),
        pytest.param({"devices": {"hst:web": ""}}, "is no device", id="no device"),
        pytest.param({"devices": {"host:web": "../x"}}, "no name of a network namespace", id="a path"),
        pytest.param({"tolerated-tables": ["docker"]}, "is no table", id="no table"),
        pytest.param({"sysctl": "yes"}, "sysctl is of another kind", id="another kind"),
        pytest.param({"state": "/var/lib/a b"}, "cannot stand in HAProxy's", id="a path that HAProxy would misread"),
        pytest.param({"runtime": "run"}, "cannot stand in HAProxy's", id="a relative path"),
        pytest.param({"certificates": {"web": "/x.pem"}}, "certificates: ", id="no identity"),
        pytest.param({"certificates": {"spiffe://a/service/web": "x"}}, "no absolute path", id="a relative file"),
        pytest.param({"confirm-seconds": 60}, "at most 25", id="too long a trial"),
    ],
)
def test_what_it_may_not_say_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RingfortError, match=message):
        from_document({**SOUND, **change})


@pytest.mark.parametrize("content", [b"name = ", b"\xff", b"x = 1"])
def test_whatever_stands_in_the_file_the_message_says_where(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(content)
    with pytest.raises(RingfortError, match=r"node\.toml"):
        read(path)
