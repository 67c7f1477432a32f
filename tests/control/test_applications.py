"""What a customer orders about its applications is done, with a record, and nobody else learns what is in them."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from ringfort.compute.sealing import SealedError
from ringfort.control import sealed
from ringfort.control.application_tables import customer_keys, log_pieces, upload_parts
from ringfort.control.application_tables import uploads as uploads_table
from ringfort.control.bodies import Slots
from ringfort.control.client import CallRefusedError, Client
from ringfort.control.errors import ProblemError
from ringfort.control.operations import logs, uploads
from ringfort.control.sending import send
from ringfort.control.tables import idempotency
from tests.compute.bundles import bundle, file, link
from tests.control.places import Places, beat, placed
from tests.control.running import Ground, Running, running
from tests.control.shops import Customer, customer


def code(work: Any) -> str:  # noqa: ANN401  # something to call
    with pytest.raises(CallRefusedError) as refused:
        work()
    return refused.value.code


def records(controller: Running, about: str) -> list[dict[str, Any]]:
    found = controller.operator("aude").get(f"/v1/audit/records?limit=1000&object={about}")["records"]
    return list(found)


# -- sending ---------------------------------------------------------------------------------------------------------


def begun(shop: Customer, content: bytes) -> str:
    form = {"digest": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return str(shop.call("POST", "/uploads", form)["upload"])


def test_an_upload_goes_on_where_it_stopped_and_is_not_sent_twice(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "resumes")
    content = shop.software(b"x" * 9_000_000)
    upload = begun(shop, content)
    shop.client.put(f"{shop.path}/uploads/{upload}/parts/0", content[:1_000_000])
    told: list[tuple[int, int]] = []
    digest = hashlib.sha256(content).hexdigest()
    sent = send(shop.client, shop.name, io.BytesIO(content), digest, len(content), lambda *now: told.append(now))
    assert sent == upload
    assert told[0] == (1_000_000, len(content))
    assert told[-1] == (len(content), len(content))
    again: list[tuple[int, int]] = []
    assert send(shop.client, shop.name, io.BytesIO(b""), digest, len(content), lambda *now: again.append(now)) == upload
    assert again == [(len(content), len(content))]


def test_parts_come_in_order_and_one_that_is_here_changes_nothing(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "ordered")
    content = shop.software()
    upload = begun(shop, content)
    path = f"{shop.path}/uploads/{upload}/parts"
    assert code(lambda: shop.client.put(f"{path}/512", content[512:])) == "part-out-of-place"
    shop.client.put(f"{path}/0", content[:512])
    before = len(records(controller, f"upload/ordered/{upload}"))
    assert shop.client.put(f"{path}/0", content[:512])["received"] == 512
    assert len(records(controller, f"upload/ordered/{upload}")) == before
    assert code(lambda: shop.client.put(f"{path}/0", b"x" * 512)) == "part-out-of-place"
    assert code(lambda: shop.client.put(f"{path}/512", content[512:] + b"more")) == "part-out-of-place"
    assert code(lambda: shop.client.put(f"{path}/512", b"")) == "part-out-of-place"
    assert code(lambda: deploy(shop, upload)) == "upload-unfinished"
    assert shop.client.put(f"{path}/512", content[512:])["received"] == len(content)
    deploy(shop, upload)


def deploy(shop: Customer, upload: str, name: str = "web") -> Any:  # noqa: ANN401  # JSON
    return shop.call("POST", f"/applications/{name}/deployments", {"upload": upload})


def test_what_is_sent_is_bounded(controller: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = customer(controller, tmp_path, "greedy")
    too_large = {"digest": "ab" * 32, "size": 2**30}
    assert code(lambda: shop.call("POST", "/uploads", too_large)) == "bundle-too-large"
    upload = begun(shop, b"x" * 6_000_000)
    large = f"{shop.path}/uploads/{upload}/parts/0"
    assert code(lambda: shop.client.put(large, b"x" * (uploads.LARGEST_PART + 1))) == "too-large"
    for number in range(4):
        begun(shop, b"%d" % number)
    assert code(lambda: begun(shop, b"one more")) == "too-many-uploads"
    shop.call("DELETE", f"/uploads/{upload}")
    monkeypatch.setattr(uploads, "MOST_BYTES", 100)
    assert code(lambda: begun(shop, b"x" * 101)) == "too-much-software"


def test_uploads_that_nobody_finishes_go_by_themselves(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "forgetful")
    kept, lost = shop.software(), begun(shop, b"never sent")
    shop.deploy(kept)
    with controller.controller.database.writing() as connection:
        uploads.remove_old(connection, 2**60)
    assert code(lambda: shop.get(f"/uploads/{lost}")) == "not-found"
    assert shop.send(kept)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"no archive at all", "tar-truncated"),
        (bundle(file("shop.py")), "description-missing"),
        (bundle(file("app.yaml", b"application: web\nruntime: static\n"), link("public", "/etc")), "link-escapes"),
        (bundle(file("app.yaml", b"application: web\nruntime: static\n")), "file-missing"),
        (bundle(file("app.yaml", b"application: other\nruntime: command\ncommand: [x]\n")), "application-differs"),
    ],
)
def test_software_is_verified_before_anything_of_it_is_kept_as_an_application(
    controller: Running, tmp_path: Path, content: bytes, wanted: str
) -> None:
    name = f"v-{hashlib.sha256(content).hexdigest()[:8]}"
    shop = customer(controller, tmp_path, name)
    assert code(lambda: shop.deploy(content)) == wanted
    assert shop.get("/applications") == {"applications": []}


def test_faults_of_a_description_come_back_with_their_places(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "faulty")
    with pytest.raises(CallRefusedError) as refused:
        shop.deploy(bundle(file("app.yaml", b"application: web\nruntime: pyton\ncolour: red\n")))
    assert refused.value.code == "declaration-refused"
    assert "app.yaml:2:10: 'pyton' is none of" in refused.value.message
    assert "app.yaml:3:1: 'colour' is not a key" in refused.value.message


def test_bytes_that_are_not_those_that_were_announced_are_refused(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "altered")
    upload = begun(shop, shop.software(b"good"))
    shop.client.put(f"{shop.path}/uploads/{upload}/parts/0", shop.software(b"evil"))
    assert code(lambda: deploy(shop, upload)) == "digest-differs"


def test_what_is_no_part_is_refused_in_words(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "malformed")
    upload = begun(shop, b"content")
    path = f"{shop.path}/uploads/{upload}/parts"

    def put(where: str, media: str = "application/octet-stream", **more: str) -> tuple[int, str]:
        headers = {"Idempotency-Key": "a-key-of-its-own", "Content-Type": media, **more}
        answer = shop.client.send("PUT", where, b"content", headers)
        return answer.status, json.loads(answer.body)["type"].rpartition("/")[2]

    assert put(f"{path}/0", "application/json") == (415, "media-type")
    assert put(f"{path}/0", **{"Content-Encoding": "gzip"}) == (415, "encoding-unsupported")
    assert put(f"{path}/0", **{"Idempotency-Key": ""}) == (400, "idempotency-key-missing")
    for place in ("", "-1", "1e3", "9" * 16, "9" * 5000):  # loosely matched paths are judged whole
        assert put(f"{path}/{place}") == (404, "not-found"), place
    assert put(f"{shop.path}/uploads/{'0' * 32}/parts/0") == (404, "not-found")
    assert shop.get(f"/uploads/{upload}")["received"] == 0


def test_heavy_work_of_one_customer_is_bounded_and_leaves_room_for_others() -> None:
    async def tried() -> list[str]:
        slots, refused = Slots(), []
        async with AsyncExitStack() as stack:
            for caller in ("one", "one", "one", "two", "two", "three", "three", "four", "four", "five"):
                try:
                    await stack.enter_async_context(slots.taken(caller))
                except ProblemError as error:
                    assert error.status == 429  # noqa: PT017
                    refused.append(caller)
        async with slots.taken("one"):
            return refused

    assert asyncio.run(tried()) == ["one", "five"]


@pytest.mark.parametrize(("key", "wanted"), [(None, "data-key-missing"), (b"k" * 32, "customer-key-foreign")])
def test_a_controller_without_the_right_key_serves_no_data_and_says_so(
    ground: Ground, controller: Running, tmp_path: Path, key: bytes | None, wanted: str
) -> None:
    shop = customer(controller, tmp_path, f"k-{wanted}")
    shop.deploy(shop.software())
    name = f"controller-{wanted}"
    settings = ground.settings(name)
    line = 'data_key = "data.key"\n'
    if key is not None:
        (ground.directory / "other.key").write_bytes(key)
        (ground.directory / "other.key").chmod(0o600)
    text = settings.read_text()
    assert line in text
    settings.write_text(text.replace(line, "" if key is None else line.replace("data.key", "other.key")))
    with running(ground, name) as other:
        there = Customer(shop.name, other.customer(shop.first), shop.first)
        assert code(lambda: there.get("/applications/web/configuration")) == wanted
        assert code(lambda: there.call("POST", "/applications/web/secrets", {"set": {"A": "1"}})) == wanted
        assert there.get("/applications/web")["deployment"] == 1  # what is no content is no secret of this key


# -- deploying -------------------------------------------------------------------------------------------------------


def test_a_deployment_is_in_force_and_history_only_grows(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "history")
    first, second = shop.software(b"1"), shop.software(b"2")
    shown = shop.deploy(first)
    assert (shown["deployment"], shown["state"], shown["public_names"]) == (1, "running", ["history.example"])
    assert shown["digest"] == hashlib.sha256(first).hexdigest()
    assert [one["state"] for one in shown["instances"]] == ["waiting", "waiting"]
    assert shop.deploy(second)["deployment"] == 2
    back = shop.call("POST", "/applications/web/rollback", {})
    assert (back["deployment"], back["digest"]) == (3, hashlib.sha256(first).hexdigest())
    kept = shop.get("/applications/web/deployments")["deployments"]
    assert [(one["number"], one["origin"]) for one in kept] == [(3, 1), (2, 0), (1, 0)]
    assert shop.call("POST", "/applications/web/rollback", {"to": 2})["digest"] == hashlib.sha256(second).hexdigest()
    assert code(lambda: shop.call("POST", "/applications/web/rollback", {"to": 9})) == "no-such-deployment"


def test_old_versions_go_and_software_that_they_needed_with_them(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "many")
    for number in range(12):
        shop.deploy(shop.software(b"%d" % number))
    kept = [one["number"] for one in shop.get("/applications/web/deployments")["deployments"]]
    assert kept == list(range(12, 2, -1))
    with controller.controller.database.reading() as connection:
        count = connection.execute(select(func.count()).select_from(uploads_table).where(mine("many"))).scalar_one()
    assert count == 10


def mine(name: str) -> Any:  # noqa: ANN401  # a condition
    return uploads_table.c.customer == name


def test_it_is_scaled_stopped_started_and_removed(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "life")
    shop.deploy(shop.software())
    names = [one["instance"] for one in shop.get("/applications/web")["instances"]]
    more = shop.call("POST", "/applications/web/scale", {"count": 4})["instances"]
    assert [one["instance"] for one in more][:2] == names
    assert len({one["instance"] for one in more}) == 4
    fewer = shop.call("POST", "/applications/web/scale", {"count": 1})["instances"]
    assert [one["instance"] for one in fewer] == names[:1]
    assert shop.call("POST", "/applications/web/stop")["state"] == "stopped"
    assert shop.call("POST", "/applications/web/start")["state"] == "running"
    assert shop.deploy(shop.software(b"2"))["count"] == 1
    shop.call("DELETE", "/applications/web")
    assert shop.get("/applications") == {"applications": []}
    assert code(lambda: shop.get("/applications/web")) == "not-found"
    assert shop.deploy(shop.software())["deployment"] == 1


def plain(name: str) -> bytes:
    return bundle(file("app.yaml", f"application: {name}\nruntime: command\ncommand: [x]\n".encode()))


def test_counts_are_bounded_over_all_applications(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "crowd")
    for name in ("one", "two", "three"):
        shop.deploy(plain(name), name)
    shop.call("POST", "/applications/one/scale", {"count": 100})
    assert code(lambda: shop.call("POST", "/applications/two/scale", {"count": 100})) == "too-many-instances"
    assert code(lambda: shop.call("POST", "/applications/one/scale", {"count": 101})) == "invalid"


def test_two_applications_never_answer_to_one_name(controller: Running, tmp_path: Path) -> None:
    shop, rival = customer(controller, tmp_path, "named"), customer(controller, tmp_path, "squatter")
    shop.deploy(shop.software())
    stolen = bundle(
        file("app.yaml", b"application: web\nruntime: command\ncommand: [x]\nendpoints: [{name: web, port: 80, "
             b"public-name: named.example}]\n"),
    )  # fmt: skip
    assert code(lambda: rival.deploy(stolen)) == "public-name-taken"
    assert rival.get("/applications") == {"applications": []}
    shop.call("DELETE", "/applications/web")
    assert rival.deploy(stolen)["public_names"] == ["named.example"]


def test_deleting_one_application_touches_nothing_of_another(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "two")
    shop.deploy(plain("one"), "one")
    shop.deploy(plain("other"), "other")
    under_way = begun(shop, b"on its way")
    shop.call("POST", "/applications/other/secrets", {"set": {"TOKEN": "x"}})
    before = shop.get("/applications/other")
    shop.call("DELETE", "/applications/one")
    assert shop.get("/applications/other") == before
    assert shop.get(f"/uploads/{under_way}")["received"] == 0
    with controller.controller.database.reading() as connection:
        kept = connection.execute(select(uploads_table.c.name).where(mine("two"))).all()
    assert len(kept) == 2


def test_an_upload_begun_at_one_controller_goes_on_at_another(
    ground: Ground, controller: Running, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "roams")
    content = shop.software(b"x" * 5_000_000)
    upload = begun(shop, content)
    shop.client.put(f"{shop.path}/uploads/{upload}/parts/0", content[:3_000_000])
    with running(ground, "controller-2") as other:
        there = Customer("roams", other.customer(shop.first), shop.first)
        assert there.get(f"/uploads/{upload}")["received"] == 3_000_000
        assert there.send(content) == upload
        assert deploy(there, upload)["deployment"] == 1
        assert shop.get("/applications/web")["digest"] == hashlib.sha256(content).hexdigest()


# -- settings --------------------------------------------------------------------------------------------------------


def values(shop: Customer) -> dict[str, tuple[str, str]]:
    shown = shop.get("/applications/web/configuration")["values"]
    return {one["name"]: (one["value"], one["origin"]) for one in shown}


def test_configuration_is_set_over_what_app_yaml_says_and_unset_again(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "set")
    shop.deploy(shop.software())
    assert values(shop) == {"GREETING": ("hello", "app.yaml"), "WORKERS": ("4", "app.yaml")}
    form = {"set": {"GREETING": "good day", "COLOUR": "a=b\nred"}}
    assert shop.call("POST", "/applications/web/configuration", form) == {
        "settings": 1,
        "set": ["COLOUR", "GREETING"],
        "unset": [],
    }
    assert values(shop)["GREETING"] == ("good day", "set")
    assert values(shop)["COLOUR"] == ("a=b\nred", "set")
    assert shop.call("POST", "/applications/web/configuration", form)["set"] == []
    shop.call("POST", "/applications/web/configuration", {"unset": ["GREETING", "COLOUR"]})
    assert values(shop) == {"GREETING": ("hello", "app.yaml"), "WORKERS": ("4", "app.yaml")}
    assert shop.get("/applications/web")["settings"] == 2


def test_secrets_are_written_and_never_shown(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "secretive")
    content = shop.software(more="secrets: [API_TOKEN]\n")
    assert code(lambda: shop.deploy(content)) == "secrets-missing"
    shop.call("POST", "/applications/web/secrets", {"set": {"API_TOKEN": "sesame-opens", "SPARE": "sesame-2"}})
    shown = shop.deploy(content)
    listed = shop.get("/applications/web/secrets")["secrets"]
    assert [(one["name"], one["needed"], one["changed"] is not None) for one in listed] == [
        ("API_TOKEN", True, True),
        ("SPARE", False, True),
    ]
    everything = json.dumps([shown, listed, shop.get("/applications"), shop.get("/applications/web/configuration")])
    assert "sesame" not in everything
    shop.call("POST", "/applications/web/secrets", {"unset": ["API_TOKEN"]})
    assert shop.get("/applications/web/secrets")["secrets"][0]["changed"] is None


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ({}, "invalid"),
        ({"set": {"A": "1"}, "unset": ["A"]}, "invalid"),
        ({"set": {"A-B": "1"}}, "invalid"),
        ({"set": {"A": "x" * 40_000}}, "invalid"),
        ({"set": {"RINGFORT_NODE": "1"}}, "setting-reserved"),
        ({"set": {f"A{n}": "x" * 30_000 for n in range(20)}}, "too-many-settings"),
        ({"set": {"SECRET": "1"}}, "setting-of-another-kind"),
    ],
)
def test_settings_that_are_refused_change_nothing(
    controller: Running, tmp_path: Path, form: dict[str, Any], wanted: str
) -> None:
    name = f"s-{hashlib.sha256(json.dumps(form).encode()).hexdigest()[:8]}"
    shop = customer(controller, tmp_path, name)
    shop.call("POST", "/applications/web/secrets", {"set": {"SECRET": "x"}})
    before = shop.get("/applications/web")
    assert code(lambda: shop.call("POST", "/applications/web/configuration", form)) == wanted
    assert shop.get("/applications/web") == before


# -- what is kept, and who can read it -------------------------------------------------------------------------------


def everything_in(controller: Running) -> bytes:
    """All that is in the database, as it is there."""
    with controller.controller.database.reading() as connection:
        return repr(
            [
                [tuple(row) for row in connection.execute(select(table))]
                for table in customer_keys.metadata.sorted_tables
            ]
        ).encode()


def test_nothing_of_a_customers_is_in_the_database_or_the_records_as_it_is(
    controller: Running, places: Places, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "private")
    shop.deploy(shop.software(b"print('marker-software')", more="health: {path: /marker-description}\n"))
    shop.call("POST", "/applications/web/configuration", {"set": {"MODE": "marker-configuration"}})
    shop.call("POST", "/applications/web/secrets", {"set": {"TOKEN": "marker-secret"}})
    node = places.hypervisor(controller, "private-node", "private private")
    instance, _ = placed(shop, 2)
    write(node, "private-node", instance, "marker-log")
    kept = everything_in(controller)
    assert b"'private'" in kept
    found = [
        word
        for word in ("software", "description", "configuration", "secret", "log")
        if f"marker-{word}".encode() in kept
    ]
    assert found == []
    for value in ("marker-configuration", "marker-secret"):  # nor as a hash that could be guessed
        assert hashlib.sha256(value.encode()).hexdigest().encode() not in kept


def test_records_tell_that_a_setting_changed_and_not_to_what(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "recorded")
    for value in ("red", "blue", "red"):
        shop.call("POST", "/applications/web/configuration", {"set": {"COLOUR": value}})
    bodies = [record["record"] for record in records(controller, "application/recorded/web")]
    prints = [body["after"]["value"]["values"]["COLOUR"] for body in bodies]
    assert prints[0] == prints[2] != prints[1]
    assert all(body["action"] == "control:application:change-configuration" for body in bodies)
    assert "red" not in json.dumps(bodies).replace("recorded", "")


def test_without_its_key_nothing_of_a_customer_is_readable_any_more(controller: Running, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "shredded")
    content = shop.software()
    shop.deploy(content)
    shop.call("POST", "/applications/web/configuration", {"set": {"MODE": "x"}})
    served, database = controller.controller.served, controller.controller.database
    with database.reading() as connection:
        part = connection.execute(
            select(upload_parts)
            .join(uploads_table, uploads_table.c.name == upload_parts.c.upload)
            .where(mine("shredded"))
        ).first()
        assert part is not None
        key = sealed.known_key(served, connection, "shredded")
        assert key.open(sealed.part(part.upload, 0), part.content) == content
    with database.writing() as connection:
        sealed.forget(connection, "shredded")
    assert code(lambda: shop.call("POST", "/applications/web/rollback", {"to": 1})) in (
        "not-found",
        "no-such-deployment",
    )
    assert shop.get("/applications/web/configuration")["values"] == []
    with database.reading() as connection:
        assert sealed.key_of(served, connection, "shredded") is None
    with database.writing() as connection:  # another key is another key
        other = sealed.new_or_known_key(served, connection, "shredded", datetime.now(UTC))
    with pytest.raises(SealedError):
        other.open(sealed.part(part.upload, 0), part.content)


def test_closing_a_customer_leaves_nothing_and_its_nodes_learn_of_it(
    controller: Running, places: Places, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "closing")
    shop.deploy(shop.software())
    node = places.hypervisor(controller, "closing-node", "closing")
    placed(shop, 1)
    before = node.get("/v1/nodes/closing-node/instances")
    assert len(before["instances"]) == 1
    controller.operator("sophie").call("DELETE", "/v1/customers/closing", reason="contract ended")
    after = node.get(f"/v1/nodes/closing-node/instances?known={before['revision']}")
    assert after["instances"] == []
    with controller.controller.database.reading() as connection:
        for table in customer_keys.metadata.sorted_tables:
            if "customer" in table.c and table.name != "customers":
                assert connection.execute(select(table).where(table.c.customer == "closing")).all() == [], table.name
        assert b"customer:closing" not in repr(connection.execute(select(idempotency)).all()).encode()


# -- nodes and operators ---------------------------------------------------------------------------------------------


def move(controller: Running, instance: str, node: str | None) -> Any:  # noqa: ANN401  # JSON
    nora = controller.operator("nora")
    return nora.call("POST", f"/v1/instances/{instance}/move", {"node": node}, reason="CHG-7")


def write(node: Client, name: str, instance: str, *texts: str) -> None:
    lines = [{"at": "2026-11-24T12:00:00Z", "text": text} for text in texts]
    node.call("POST", f"/v1/nodes/{name}/instances/{instance}/log", {"lines": lines})


def test_a_node_learns_what_to_run_and_all_that_it_takes(controller: Running, places: Places, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "hosted")
    content = shop.software(b"x" * 5_000_000, more="secrets: [TOKEN]\n")
    shop.call("POST", "/applications/web/secrets", {"set": {"TOKEN": "sesame", "OTHER": "not asked for"}})
    shop.deploy(content)
    shop.call("POST", "/applications/web/configuration", {"set": {"GREETING": "hi"}})
    first, second = [one["instance"] for one in shop.get("/applications/web")["instances"]]
    node, _ = controller.enrol("host-1")
    assert code(lambda: node.get("/v1/nodes/host-1/instances")) == "no-hypervisor"
    places.add("host-1", "hosted")
    places.publish(controller)
    beat(node, "host-1")
    placed(shop, 1)
    wanted = node.get("/v1/nodes/host-1/instances")
    (one,) = wanted["instances"]
    assert (one["instance"], one["deployment"], one["settings"], one["state"]) == (first, 1, 2, "running")
    assert one["place"] == "host-1-p0"
    assert (one["digest"], one["size"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert one["description"]["module"] == "shop"
    place = f"/v1/nodes/host-1/instances/{first}"
    found = node.get(f"{place}/settings")
    assert found["configuration"] == {"GREETING": "hi", "WORKERS": "4"}
    assert found["secrets"] == {"TOKEN": "sesame"}
    assert len(bytes.fromhex(found["disk_key"])) == 32
    software = b""
    while piece := node.fetch(f"{place}/software/{len(software)}"):
        software += piece
    assert software == content
    assert code(lambda: node.fetch(f"{place}/software/7")) == "not-found"
    for elsewhere in (second, "i-000000000000"):
        assert code(lambda which=elsewhere: node.get(f"/v1/nodes/host-1/instances/{which}/settings")) == "not-found"
        assert code(lambda which=elsewhere: write(node, "host-1", which, "x")) == "not-found"
    other = places.hypervisor(controller, "host-2", "nobody")
    assert code(lambda: other.get(f"{place}/settings")) == "forbidden"
    assert code(lambda: other.get("/v1/nodes/host-1/instances")) == "forbidden"
    assert code(lambda: other.get(f"/v1/nodes/host-2/instances/{first}/settings")) == "not-found"


def test_a_node_that_waits_hears_of_a_change_at_once_and_of_no_other_nodes(
    controller: Running, places: Places, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "watched")
    shop.deploy(shop.software())
    node = places.hypervisor(controller, "waits-1", "watched")
    placed(shop, 1)
    known = node.get("/v1/nodes/waits-1/instances")["revision"]
    heard: list[tuple[float, Any]] = []

    def wait() -> None:
        answer = node.get(f"/v1/nodes/waits-1/instances?known={known}")
        heard.append((time.monotonic(), answer))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    places.hypervisor(controller, "waits-2", "watched")
    placed(shop, 2)
    time.sleep(0.7)
    assert heard == []
    asked = time.monotonic()
    shop.call("POST", "/applications/web/stop")
    thread.join(10)
    ((when, answer),) = heard
    assert when - asked < 3
    assert answer["instances"][0]["state"] == "stopped"


def test_what_a_node_reports_is_shown_to_its_customer(controller: Running, places: Places, tmp_path: Path) -> None:
    shop = customer(controller, tmp_path, "reported")
    shop.deploy(shop.software())
    node = places.hypervisor(controller, "reporter", "reported")
    first, second = placed(shop, 1)
    said = [
        {"instance": name, "deployment": 1, "settings": 0, "state": "running"}
        for name in (first, second, "i-" + "0" * 12)
    ]
    assert node.call("POST", "/v1/nodes/reporter/instances", {"instances": said}) == {"known": 1}
    before = len(records(controller, "node/reporter"))
    assert node.call("POST", "/v1/nodes/reporter/instances", {"instances": said}) == {"known": 1}
    assert len(records(controller, "node/reporter")) == before
    assert [one["state"] for one in shop.get("/applications/web")["instances"]] == ["running", "waiting"]


def test_operators_stop_and_move_with_a_ticket_and_see_nothing_of_what_is_inside(
    controller: Running, places: Places, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "held")
    shop.call("POST", "/applications/web/secrets", {"set": {"TOKEN": "sesame-held"}})
    shop.deploy(shop.software(b"print('held-software')"))
    instance = shop.get("/applications/web")["instances"][0]["instance"]
    nora = controller.operator("nora")
    places.hypervisor(controller, "held-node", "held")
    placed(shop, 1)
    for path, body in (("stop", None), ("start", None), ("move", {"node": "held-node"})):
        assert code(lambda p=path, b=body: nora.call("POST", f"/v1/instances/{instance}/{p}", b)) == "forbidden"
    assert code(lambda: move(controller, instance, "no-such-node")) == "node-not-well"
    assert code(lambda: move(controller, instance, None)) == "no-place"  # and it goes on where it is
    places.hypervisor(controller, "other-node", "held held")
    placed(shop, 2)
    move(controller, instance, "other-node")
    assert nora.call("POST", f"/v1/instances/{instance}/stop", reason="CHG-8")["held"]
    assert shop.get("/applications/web")["instances"][0]["held"]
    shop.call("POST", "/applications/web/stop")
    shop.call("POST", "/applications/web/start")
    (listed,) = [one for one in nora.get("/v1/instances")["instances"] if one["instance"] == instance]
    assert (listed["held"], listed["node"], listed["customer"]) == (True, "other-node", "held")
    assert set(listed) == {
        "instance", "customer", "application", "ordinal", "deployment", "state", "held", "place", "node", "reason",
        "reported",
    }  # fmt: skip
    assert not nora.call("POST", f"/v1/instances/{instance}/start", reason="CHG-8")["held"]
    last = [one for one in records(controller, f"instance/{instance}") if one["action"] != "control:instance:place"]
    assert [record["record"]["why"] for record in last] == ["CHG-7", "CHG-8", "CHG-8"]
    assert [record["action"] for record in last][1:] == ["control:instance:hold", "control:instance:release"]
    assert move(controller, instance, None)["node"] == "held-node"
    for who in ("sophie", "aude", "sam"):
        operator = controller.operator(who)
        assert code(lambda o=operator: o.call("POST", f"/v1/instances/{instance}/stop", reason="x")) == "forbidden"


def test_an_instance_that_is_held_is_stopped_on_its_node_whatever_its_customer_says(
    controller: Running, places: Places, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "stubborn")
    shop.deploy(shop.software())
    node = places.hypervisor(controller, "stubborn-node", "stubborn")
    instance, _ = placed(shop, 1)
    controller.operator("nora").call("POST", f"/v1/instances/{instance}/stop", reason="INC-1")
    shop.call("POST", "/applications/web/configuration", {"set": {"A": "1"}})
    (one,) = node.get("/v1/nodes/stubborn-node/instances")["instances"]
    assert (one["state"], one["settings"]) == ("stopped", 1)


# -- logs ------------------------------------------------------------------------------------------------------------


def test_a_log_is_read_followed_and_its_own_applications_only(
    controller: Running, places: Places, tmp_path: Path
) -> None:
    shop = customer(controller, tmp_path, "talks")
    shop.deploy(shop.software())
    node = places.hypervisor(controller, "talking-node", "talks")
    instance, _ = placed(shop, 1)
    assert shop.get("/applications/web/log") == {"lines": [], "next": 0}
    write(node, "talking-node", instance, "one", "two")
    write(node, "talking-node", instance, "three")
    found = shop.get("/applications/web/log")
    assert [line["text"] for line in found["lines"]] == ["one", "two", "three"]
    assert found["lines"][0]["instance"] == instance
    assert [line["text"] for line in shop.get("/applications/web/log?last=1")["lines"]] == ["three"]
    repeated = {"lines": [{"at": "2026-11-24T12:00:00Z", "text": "once"}]}
    for _ in range(2):
        node.call("POST", f"/v1/nodes/talking-node/instances/{instance}/log", repeated, key="the-same-lines")
    found = shop.get(f"/applications/web/log?from={found['next']}")
    assert [line["text"] for line in found["lines"]] == ["once"]
    heard: list[Any] = []
    thread = threading.Thread(
        target=lambda: heard.append(shop.get(f"/applications/web/log?from={found['next']}&wait=true"))
    )
    thread.start()
    time.sleep(0.3)
    write(node, "talking-node", instance, "four")
    thread.join(10)
    assert [line["text"] for line in heard[0]["lines"]] == ["four"]


def test_only_the_last_of_a_log_is_kept(
    controller: Running, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = customer(controller, tmp_path, "floods")
    shop.deploy(shop.software())
    node = places.hypervisor(controller, "flooded-node", "floods")
    instance, _ = placed(shop, 1)
    monkeypatch.setattr(logs, "MOST_BYTES", 20_000)
    for number in range(30):
        write(node, "flooded-node", instance, f"{number}".rjust(1000))
    lines = shop.get("/applications/web/log")["lines"]
    assert 15 <= len(lines) < 20
    assert lines[-1]["text"].strip() == "29"
    with controller.controller.database.reading() as connection:
        size = connection.execute(
            select(func.sum(log_pieces.c.size)).where(log_pieces.c.customer == "floods")
        ).scalar_one()
    assert size <= 20_000
