"""Identity computes: files are `store`'s business and OpenSSL `tls`'s, and the time is an argument everywhere."""

from __future__ import annotations

from ringfort.identity import authority
from tests.house.test_purity import effects
from tests.house.tree import SOURCES, modules, name_of

EDGE = {"store.py", "tls.py"}


def test_only_the_store_and_tls_have_effects() -> None:
    found = [
        f"{name_of(path)}:{line} {effect}"
        for path, tree in modules("identity")
        for line, effect in effects(tree)
        if path.name not in EDGE
    ]
    assert found == []


def test_not_even_the_edge_reads_a_clock() -> None:
    found = [
        f"{name_of(path)}:{line} {effect}"
        for path, tree in modules("identity")
        for line, effect in effects(tree)
        if "clock" in effect or effect == "imports time"
    ]
    assert found == []
    assert SOURCES / "identity" / "authority.py" in {path for path, _ in modules("identity")}
    assert authority.__doc__
