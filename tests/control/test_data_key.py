"""The platform's key can be replaced: every customer's key is wrapped anew, all or none, and nobody notices it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from ringfort.cli.main import ringfort
from ringfort.control.application_tables import customer_keys
from ringfort.control.client import CallRefusedError
from ringfort.identity.names import Role
from ringfort.identity.store import write_credential
from tests.control.running import Ground, Running, running
from tests.control.shops import Customer, customer

VALUES = {"GREETING": "hello", "MODE": "x"}


def configured(shop: Customer) -> dict[str, str]:
    found = shop.get("/applications/web/configuration")["values"]
    return {one["name"]: one["value"] for one in found if one["name"] in VALUES}


def at(controller: Running, shop: Customer) -> Customer:
    """The same customer at another controller."""
    return Customer(shop.name, controller.customer(shop.first), shop.first)


def with_new_key(ground: Ground, name: str, keys: str) -> None:
    """The configuration of a controller after somebody gave it a new key, beside or in place of the other one."""
    ground.settings()
    path = ground.directory / "new.key"
    if not path.exists():
        path.write_bytes(os.urandom(32))
        path.chmod(0o600)
    text = ground.settings(name).read_text()
    (ground.directory / f"{name}.toml").write_text(text.replace('data_key = "data.key"', keys))


BOTH = 'data_key = "new.key"\nformer_data_key = "data.key"'


def typed(controller: Running, *words: str) -> str:
    ground, credential = controller.ground, controller.ground.directory / "sophie.pem"
    write_credential(credential, ground.credential(Role.OPERATOR, "sophie"))
    environment = {
        "RINGFORT_CONTROLLER": f"{controller.platform.host}:{controller.platform.port}",
        "RINGFORT_CREDENTIAL": str(credential),
        "RINGFORT_BUNDLE": str(ground.directory / "authority" / "bundle.pem"),
    }
    result = CliRunner().invoke(ringfort, ["controller", "key", *words], env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_all_customers_keys_are_wrapped_anew_while_controllers_go_on(
    ground: Ground, controller: Running, tmp_path: Path
) -> None:
    shops = [customer(controller, tmp_path, f"rotated-{n}") for n in range(3)]
    for shop in shops:
        shop.deploy(shop.software())
        shop.call("POST", "/applications/web/configuration", {"set": {"MODE": "x"}})
    with_new_key(ground, "controller-2", BOTH)
    with running(ground, "controller-2") as second:
        late = customer(second, tmp_path, "rotated-late")
        late.deploy(late.software())
        time.sleep(1.5)  # so that the other one knows the new customer's certificate
        # who has both keys uses the old one for new customers: not every controller has both yet
        assert configured(at(controller, late)) == {"GREETING": "hello"}
        assert "would wrap 4 customers' keys anew" in typed(second, "rotate", "--ticket", "CHG-52", "--dry-run")
        assert configured(at(second, shops[0])) == VALUES
        shown = typed(second, "rotate", "--ticket", "CHG-52")
        assert "in use         wraps 4 customers' keys" in shown
        assert "former         wraps 0 customers' keys" in shown
        assert [configured(at(second, shop)) for shop in shops] == [VALUES] * 3
        (record,) = second.operator("aude").get("/v1/audit/records?object=data-key")["records"]
        assert record["record"]["why"] == "CHG-52"
        assert record["action"] == "control:data-key:rotate"
        assert typed(second, "rotate", "--ticket", "CHG-52") == shown  # and there is nothing more to do
        assert len(second.operator("aude").get("/v1/audit/records?object=data-key")["records"]) == 1
        with pytest.raises(CallRefusedError) as refused:  # one that was forgotten says so
            configured(at(controller, shops[0]))
        assert refused.value.code == "customer-key-foreign"
        new = customer(second, tmp_path, "rotated-new")
        new.deploy(new.software())
    with_new_key(ground, "controller-3", 'data_key = "new.key"')
    with running(ground, "controller-3") as third:  # the old key is needed for nothing any more
        assert [configured(at(third, shop)) for shop in shops] == [VALUES] * 3
        assert configured(at(third, new)) == {"GREETING": "hello"}
        with third.controller.database.reading() as connection:
            assert len(set(connection.execute(select(customer_keys.c.platform_key)).scalars())) == 1


def test_a_key_that_cannot_be_unwrapped_leaves_all_as_they_were(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    with running(ground) as controller:
        for name in ("one", "two"):
            shop = customer(controller, tmp_path, name)
            shop.deploy(shop.software())
        with controller.controller.database.writing() as connection:
            lost = {"platform_key": "ffffffffffffffff", "wrapped": os.urandom(60)}
            connection.execute(update(customer_keys).where(customer_keys.c.customer == "two").values(**lost))
    with_new_key(ground, "controller-2", BOTH)
    with running(ground, "controller-2") as second:
        sophie = second.operator("sophie")
        before = sophie.get("/v1/data-key")
        assert sorted(before["wraps"].values()) == [1, 1]
        with pytest.raises(CallRefusedError) as refused:
            sophie.call("POST", "/v1/data-key/rotation", reason="CHG-52")
        assert refused.value.code == "customer-key-foreign"
        assert sophie.get("/v1/data-key") == before
        sophie.call("DELETE", "/v1/customers/two", reason="contract ended")  # nobody can read it any more
        assert sophie.call("POST", "/v1/data-key/rotation", reason="CHG-52")["wraps"] == {before["key"]: 1}
