"""What a node has to tell: nothing important is lost, and nothing fills the disk."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ringfort.control.models import ReportForm
from ringfort.node.outbox import MOST, Happening, Outbox

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def happening(what: str, *, alert: bool = True, at: datetime = NOW, changes: tuple[str, ...] = ()) -> Happening:
    return Happening("drift", "host:web", what, alert, at, at, changes, "nft (pid 7)")


def test_what_waits_survives_a_restart(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.json")
    box.add(happening("one"))
    assert Outbox(tmp_path / "outbox.json").waiting() == box.waiting()
    box.told(box.waiting())
    assert len(Outbox(tmp_path / "outbox.json")) == 0


def test_the_same_again_is_counted_and_told_with_its_last_time(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.json")
    for seconds in range(5):
        box.add(happening("one", at=NOW + timedelta(seconds=seconds)))
    (only,) = box.waiting()
    assert (only.count, only.first, only.last) == (5, NOW, NOW + timedelta(seconds=4))


def test_one_that_came_again_while_it_was_on_its_way_is_still_told(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.json")
    box.add(happening("one"))
    on_its_way = box.waiting()
    box.add(happening("one"))
    box.told(on_its_way)
    assert [left.count for left in box.waiting()] == [2]


def test_when_there_are_too_many_what_is_no_alert_goes_first(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.json")
    box.add(happening("an alert"))
    for number in range(MOST + 10):
        box.add(happening(f"notice {number}", alert=False))
    waiting = box.waiting(MOST + 20)
    assert len(waiting) == MOST
    assert waiting[0].what == "an alert"
    assert box.dropped == 11


def test_a_disk_that_fails_or_lies_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "outbox.json").write_text('[{"kind": 7}]')
    assert len(Outbox(tmp_path / "outbox.json")) == 0
    box = Outbox(tmp_path / "absent" / "outbox.json")
    box.add(happening("one"))
    assert len(box) == 1


def test_the_controller_takes_what_is_reported(tmp_path: Path) -> None:
    long = tuple(f"chain input of table inet ringfort: + {'x' * 2000}" for _ in range(300))
    event = happening("y" * 3000, changes=long).to_report()
    form = {"version": 1, "state": "confirmed", "digest": "0" * 64, "devices": {"switch:north/edge": "0" * 64}}
    ReportForm.model_validate_json(json.dumps({**form, "counters": {"host:web/flow-web": 7}, "events": [event]}))
