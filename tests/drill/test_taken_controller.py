"""A controller that has been taken over serves forged, single-signed and frozen metadata; no node opens anything."""

from __future__ import annotations

import pytest

from ringfort.drill.run import drill
from tests.lab.running import running
from tests.lab.test_control_plane import CONTROLLED

pytestmark = pytest.mark.lab


def test_whatever_a_controller_serves_no_node_opens_anything(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(tmp_path_factory.mktemp("taken"), CONTROLLED, "taken") as lab:
        result = drill(lab, only=("controller",))
        seen = [one for one in result.observations if one.name == "controller taken over"]
        assert len(seen) == 4
        assert all(one.held for one in seen), "\n".join(one.words for one in seen)
        assert any("7 of 7 nodes refused it" in one.words for one in seen), "\n".join(one.words for one in seen)
        standing = lab.standing()
        assert standing is not None
        assert standing.version == 1
        assert result.exit_code == 0, result.observations
