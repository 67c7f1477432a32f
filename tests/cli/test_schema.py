"""``ringfort schema``."""

from __future__ import annotations

import json

from ringfort.environment.schema import json_schema
from tests.cli.command import run


def test_it_prints_the_schema_and_nothing_else() -> None:
    ran = run("schema")
    assert ran.code == 0
    assert ran.err == ""
    assert json.loads(ran.out) == json_schema()
