"""An image's layers become one bundle; what no application may hold, or is not what its digest says, is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tracemalloc
import zlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.compute.bundle import Bundle, verify
from ringfort.compute.entries import BundleRefusedError, Kind, Limits
from ringfort.compute.oci import pack_image
from ringfort.errors import DeclarationError
from tests.compute.bundles import DESCRIPTION, archive, image, raw

APP = raw("app.yaml", content=DESCRIPTION)
SMALL = Limits(bytes=40_000_000)


def converted(content: bytes, description: bytes | None = None, limits: Limits = SMALL) -> tuple[Bundle, bytes]:
    out = io.BytesIO()
    pack_image(io.BytesIO(content), out, io.BytesIO(), description, limits)
    return verify(io.BytesIO(out.getvalue()), limits), out.getvalue()


def code(content: bytes, limits: Limits = SMALL) -> str:
    with pytest.raises(BundleRefusedError) as refused:
        converted(content, limits=limits)
    return refused.value.code


def files(*layers: bytes) -> Mapping[str, Kind]:
    found, _ = converted(image(layers))
    return {path: entry.kind for path, entry in found.entries.items() if path != "app.yaml"}


@pytest.mark.parametrize("compressed", [True, False])
def test_an_image_becomes_a_bundle(compressed: bool) -> None:
    lower = archive(APP, raw("bin", type_=b"5", mode=0o755), raw("bin/shop", mode=0o755, content=b"lower" * 50_000))
    upper = archive(raw("./bin/shop", mode=0o755, content=b"upper" * 50_000), raw("etc/conf", content=b"x"))
    found, content = converted(image([lower, upper], compressed=compressed))
    assert list(found.entries) == ["app.yaml", "bin", "bin/shop", "etc", "etc/conf"]
    assert found.entries["bin/shop"].executable
    assert b"upper" * 50_000 in content
    assert b"lower" not in content
    assert converted(image([lower, upper], compressed=not compressed))[1] == content


def test_a_description_of_ones_own_replaces_the_images() -> None:
    found, _ = converted(image([archive(APP)]), b"application: other\nruntime: command\ncommand: [/bin/shop]\n")
    assert found.application.application == "other"


LOWER = archive(APP, raw("a", content=b"a"), raw("d", type_=b"5"), raw("d/x"), raw("d/y"), raw("d/e/z"))


@pytest.mark.parametrize(
    ("upper", "left"),
    [
        ([], {"a", "d", "d/x", "d/y", "d/e", "d/e/z"}),
        ([raw(".wh.a")], {"d", "d/x", "d/y", "d/e", "d/e/z"}),
        ([raw("d/.wh.x")], {"a", "d", "d/y", "d/e", "d/e/z"}),
        ([raw(".wh.d")], {"a"}),
        ([raw("d/.wh..wh..opq")], {"a", "d"}),
        ([raw("d/.wh..wh..opq"), raw("d/new")], {"a", "d", "d/new"}),
        ([raw("d/new"), raw("d/.wh..wh..opq")], {"a", "d", "d/new"}),
        ([raw("d/x", content=b"new"), raw("d/.wh.x")], {"a", "d", "d/x", "d/y", "d/e", "d/e/z"}),
        ([raw("d", content=b"a file")], {"a", "d"}),
        ([raw(".wh.nothing")], {"a", "d", "d/x", "d/y", "d/e", "d/e/z"}),
        ([raw(".wh.d"), raw("d/new")], {"a", "d", "d/new"}),
    ],
)
def test_whiteouts_hide_what_lower_layers_have_and_nothing_of_their_own(upper: list[bytes], left: set[str]) -> None:
    assert files(LOWER, archive(*upper)).keys() == left


def test_no_whiteout_reaches_a_bundle() -> None:
    assert not [path for path in files(LOWER, archive(raw(".wh.a"), raw("d/.wh..wh..opq"))) if ".wh." in path]


def test_links_stay_inside_and_hard_links_become_files() -> None:
    layer = archive(
        APP,
        raw("usr/lib/a", content=b"content"),
        raw("lib", type_=b"2", target="usr/lib"),
        raw("etc/alternatives/a", type_=b"2", target="/usr/lib/a"),
        raw("b", type_=b"1", target="usr/lib/a"),
    )
    found, content = converted(image([layer]))
    assert found.entries["lib"].target == "usr/lib"
    assert found.entries["etc/alternatives/a"].target == "../../usr/lib/a"
    assert (found.entries["b"].kind, found.entries["b"].size) == (Kind.FILE, 7)
    assert content.count(b"content") == 2


def test_setuid_programs_of_a_base_image_lose_their_bit() -> None:
    found, content = converted(image([archive(APP, raw("bin/su", mode=0o4755))]))
    assert found.entries["bin/su"].executable
    verify(io.BytesIO(content), SMALL)


DOUBLE = raw("oci-layout", content=b"{}")

ATTACKS: dict[str, tuple[str, bytes]] = {
    "a path that climbs out": ("path-escapes", image([archive(raw("../evil"))])),
    "an absolute path": ("path-escapes", image([archive(raw("/etc/evil"))])),
    "a whiteout that climbs out": ("path-escapes", image([archive(raw("../.wh.evil"))])),
    "a link out": ("link-escapes", image([archive(APP, raw("l", type_=b"2", target="../x"))])),
    "a file behind a lower layer's link": (
        "path-through-link",
        image([archive(APP, raw("l", type_=b"2", target="/etc")), archive(raw("l/passwd"))]),
    ),
    "a file behind its own layer's link": (
        "path-through-link",
        image([archive(APP, raw("l", type_=b"2", target="/etc"), raw("l/passwd"))]),
    ),
    "a hard link out": ("path-escapes", image([archive(raw("l", type_=b"1", target="../../etc/shadow"))])),
    "a hard link to nothing": ("hard-link", image([archive(raw("l", type_=b"1", target="etc/shadow"))])),
    "a hard link to a link": (
        "hard-link",
        image([archive(raw("s", type_=b"2", target="/etc/shadow"), raw("l", type_=b"1", target="s"))]),
    ),
    "a device": ("device-file", image([archive(raw("sda", type_=b"4"))])),
    "a named pipe": ("fifo", image([archive(raw("p", type_=b"6"))])),
    "the same path twice in a layer": ("duplicate-path", image([archive(APP, raw("a"), raw("a"))])),
    "a blob twice": ("duplicate-path", archive(DOUBLE, DOUBLE)),
    "no layout": ("image-unreadable", archive(raw("index.json", content=b"{}"))),
    "no tar at all": ("tar-truncated", b"\x1f\x8b" + b"x" * 20),
    "an index that is no JSON": ("image-unreadable", image([LOWER], changes={"index.json": b"{"})),
    "an index without an image": ("image-unreadable", image([LOWER], changes={"index.json": b"{}"})),
    "no description": ("description-missing", image([archive(raw("a"))])),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_with_its_name(attack: str) -> None:
    wanted, content = ATTACKS[attack]
    assert code(content) == wanted


def blob(content: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def test_every_digest_is_checked() -> None:
    good = image([LOWER])
    layer = gzip.compress(LOWER, mtime=0)
    other = gzip.compress(archive(APP, raw("evil")), mtime=0)
    assert code(image([LOWER], changes={blob(layer): other})) == "digest-differs"
    index = json.loads(good[good.index(b'{"schemaVersion": 2, "manifests"') :].partition(b"\0")[0])
    manifest = index["manifests"][0]["digest"].removeprefix("sha256:")
    assert code(image([LOWER], changes={f"blobs/sha256/{manifest}": b'{"layers": []}'})) == "digest-differs"


def test_a_layer_whose_content_is_not_the_one_that_was_named_is_refused() -> None:
    """The compressed blob has its digest, but what it expands to is another layer than the configuration names."""
    assert code(image([archive(APP, raw("evil"))], contents=[LOWER])) == "digest-differs"


@pytest.mark.parametrize("damage", [lambda z: z[:-30], lambda z: b"no gzip at all" + z])
def test_a_layer_that_cannot_be_decompressed_is_refused(damage: object) -> None:
    assert callable(damage)
    layer = gzip.compress(LOWER, mtime=0)
    assert code(image([LOWER], changes={blob(layer): damage(layer)})) == "layer-damaged"


def bomb(size: int) -> bytes:
    """A layer with a file of zeros, made without having it in memory."""
    header = raw("zeros")[:512]
    header = header[:124] + b"%011o\0" % size + header[136:148] + b" " * 8 + header[156:]
    header = header[:148] + b"%06o\0 " % sum(header) + header[156:]
    deflater = zlib.compressobj(9, wbits=31)
    pieces = [deflater.compress(header)]
    pieces += [deflater.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join(pieces) + deflater.flush()


def with_layer(layer: bytes) -> bytes:
    """An image whose layer is given as it is compressed."""
    placeholder = archive(raw("placeholder"))
    made = image([placeholder])
    old = blob(gzip.compress(placeholder, mtime=0)).encode()
    manifest = made[made.index(b'{"schemaVersion": 2, "config"') :].partition(b"\0")[0]
    changed = manifest.replace(old.rpartition(b"/")[2], blob(layer).rpartition("/")[2].encode())
    listed = [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": f"sha256:{hashlib.sha256(changed).hexdigest()}",
        }
    ]
    return image(
        [placeholder],
        changes={
            blob(layer): layer,
            blob(changed): changed,
            "index.json": json.dumps({"manifests": listed}).encode(),
        },
    )


def test_a_bomb_goes_off_in_bounded_memory() -> None:
    content = io.BytesIO(with_layer(bomb(1 << 28)))
    assert len(content.getvalue()) < 400_000
    tracemalloc.start()
    with pytest.raises(BundleRefusedError) as refused, open("/dev/null", "r+b", buffering=0) as nowhere:
        pack_image(content, io.BytesIO(), nowhere, None, Limits())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.code == "decompression-bomb"
    assert peak < 3_000_000


def test_layers_that_are_too_large_without_being_a_bomb_are_refused() -> None:
    assert code(with_layer(bomb(12 << 20)), Limits(bytes=5 << 20)) == "bundle-too-large"


def test_layers_with_too_many_files_are_refused() -> None:
    assert code(image([archive(*(raw(f"{n}") for n in range(100)))]), Limits(entries=20)) == "too-many-files"


def test_a_kind_of_layer_that_cannot_be_read_says_what_to_do() -> None:
    assert code(image([LOWER], media="application/vnd.oci.image.layer.v1.tar+zstd")) == "layer-unknown"


NAMES = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "b/a", "./a", "../a", "/a", ".wh.a", "a/.wh..wh..opq", "a/.wh.b", "app.yaml"]
)
TARGETS = st.sampled_from(["a", "b", "../b", "../../x", "/", "/a/b", ".", "a/../..", "b/c"])
MEMBERS = st.builds(
    lambda path, type_, mode, content, target: raw(
        path, type_=type_, mode=mode, content=content if type_ == b"0" else b"", target=target if type_ in b"12" else ""
    ),
    NAMES,
    st.sampled_from([b"0", b"0", b"5", b"5", b"2", b"1", b"3", b"6"]),
    st.sampled_from([0o644, 0o755, 0o4755, 0o600]),
    st.binary(max_size=20),
    TARGETS,
)


@given(st.lists(st.lists(MEMBERS, max_size=5), max_size=3))
def test_whatever_layers_say_what_comes_of_them_stays_inside_or_is_refused_by_name(layers: list[list[bytes]]) -> None:
    """What is accepted is a bundle; so no path, link, mode or kind in it is one that a bundle may not have."""
    try:
        found, _ = converted(image([archive(APP), *(archive(*members) for members in layers)]))
    except (BundleRefusedError, DeclarationError) as refused:
        reason = refused.code
        assert reason not in ("parent-missing", "bundle-not-canonical", "setuid")  # that would be our own fault
        return
    for path, entry in found.entries.items():
        assert ".wh." not in path
        assert not path.startswith(("/", "."))
        assert not entry.target.startswith("/")
