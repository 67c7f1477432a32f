"""Whatever a file says fits into nftables' limits, and different names stay different."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfort.network.names import COMMENT_LIMIT_BYTES, NAME_LIMIT_BYTES, comment, identifier, identifiers


def test_a_plain_name_is_kept() -> None:
    assert identifier("flow-", "web-to-app") == "flow-web-to-app"


def test_what_nft_does_not_take_in_a_name_becomes_a_hyphen() -> None:
    assert identifier("flow-", "segment:north/administration-to-db") == "flow-segment-north-administration-to-db"


def test_names_that_would_coincide_stay_apart() -> None:
    names = identifiers("flow-", ["a/b", "a:b", "a-b"])
    assert names["a-b"] == "flow-a-b"
    assert len(set(names.values())) == 3


@given(st.lists(st.text(max_size=300), unique=True, max_size=20))
@settings(deadline=None)
def test_any_names_give_distinct_names_within_the_limit(names: list[str]) -> None:
    chosen = identifiers("flow-", names)
    assert len(set(chosen.values())) == len(names)
    assert all(len(name) <= NAME_LIMIT_BYTES for name in chosen.values())
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
        for name in chosen.values()
    )


def test_a_long_comment_is_cut_between_characters() -> None:
    assert comment("é" * 100) == "é" * 58 + "..."


def test_a_comment_has_no_quotes_and_no_line_breaks() -> None:
    assert comment('the "shop"\nof\tMärz') == "the 'shop' of März"


@given(st.text(max_size=400))
@settings(deadline=None)
def test_any_comment_fits(text: str) -> None:
    fitting = comment(text)
    assert len(fitting.encode()) <= COMMENT_LIMIT_BYTES
    assert '"' not in fitting
    assert "\n" not in fitting
