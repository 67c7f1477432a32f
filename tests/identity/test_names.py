"""SPIFFE names: what is one, and that reading and writing are each other's opposite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.identity.errors import IdentityError
from ringfort.identity.names import Identity, Role, parse

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
DOMAINS = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,60}", fullmatch=True).filter(lambda name: name not in {".", ".."})


@given(DOMAINS, st.sampled_from(Role), NAMES)
def test_a_name_is_read_as_it_was_written(domain: str, role: Role, name: str) -> None:
    identity = Identity(domain, role, name)
    assert parse(identity.uri) == identity


@given(st.text(max_size=80))
def test_whatever_is_read_as_a_name_is_written_the_same(text: str) -> None:
    for uri in (text, f"spiffe://{text}", f"spiffe://shop.example/node/{text}"):
        try:
            identity = parse(uri)
        except IdentityError:
            continue
        assert identity.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "spiffe://shop.example",
        "spiffe://shop.example/",
        "spiffe://shop.example/node",
        "spiffe://shop.example/node/",
        "spiffe://shop.example/node/a/b",
        "spiffe://shop.example//a",
        "spiffe://shop.example/king/a",
        "spiffe://shop.example/node/..",
        "spiffe://shop.example/node/a?b",
        "spiffe://shop.example/node/a#b",
        "spiffe://shop.example/node/a%2e",
        "spiffe://shop.example/node/é",
        "spiffe://shop.example:443/node/a",
        "spiffe://user@shop.example/node/a",
        "spiffe://Shop.example/node/a",
        "SPIFFE://shop.example/node/a",
        "https://shop.example/node/a",
        "spiffe://shop.example/node/a\n",
        "spiffe://.example/node/a",
        f"spiffe://shop.example/node/{'a' * 2048}",
        f"spiffe://{'a.' * 127}aa/node/a",
    ],
)
def test_what_is_no_name_is_refused(uri: str) -> None:
    with pytest.raises(IdentityError):
        parse(uri)
