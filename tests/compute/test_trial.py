"""Which accelerator a machine has is told by booting a guest, and a device that only answers is not believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ringfort.compute import trial
from ringfort.compute.errors import SandboxError
from ringfort.compute.image import Image
from ringfort.compute.sandbox import Sandbox

IMAGE = Image(Path("/nowhere"), "an image", {})


class Machine:
    """A machine with /dev/kvm, whose guests boot or don't."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, runtime: Path, works: bool) -> None:
        self.runtime, self.works, self.booted = runtime, works, list[str]()
        device = runtime / "kvm"
        device.touch()
        monkeypatch.setattr(trial, "KVM", device)

        def boot(sandbox: Sandbox, *, seconds: float) -> None:
            self.booted.append(sandbox.specification.accelerator)
            if not self.works:
                raise SandboxError("sandbox-not-ready", f"not ready in {seconds:g} s")

        monkeypatch.setattr(Sandbox, "boot", boot)

    def accelerator(self, image: Image = IMAGE) -> str:
        return trial.accelerator(image, 1, self.runtime)


def test_where_kvm_answers_and_no_guest_boots_guests_are_translated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, works=False)
    assert machine.accelerator() == "tcg"
    assert machine.booted == ["kvm"]


def test_where_a_guest_boots_kvm_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Machine(monkeypatch, tmp_path, works=True).accelerator() == "kvm"


def test_it_is_tried_once_for_each_image_and_boot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, tmp_path, works=False)
    assert [machine.accelerator() for _ in range(3)] == ["tcg"] * 3
    assert len(machine.booted) == 1
    machine.accelerator(Image(Path("/nowhere"), "another", {}))
    assert len(machine.booted) == 2
    record = tmp_path / trial.RECORD
    record.write_text(json.dumps({"key": "another boot of the machine", "accelerator": "kvm"}))
    assert machine.accelerator() == "tcg"


def test_without_the_device_nothing_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, tmp_path, works=True)
    (tmp_path / "kvm").unlink()
    assert machine.accelerator() == "tcg"
    assert machine.booted == []
