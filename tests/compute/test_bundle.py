"""A bundle is what packing makes, byte for byte; whatever else is sent is refused by its name before anything runs."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfort.compute import tar
from ringfort.compute.bundle import Bundle, verify
from ringfort.compute.entries import LIMITS, BundleRefusedError, Entry, Kind, Limits
from ringfort.compute.folder import pack
from ringfort.errors import DeclarationError, RingfortError
from tests.compute.bundles import APP, DESCRIPTION, archive, bundle, file, folder, link, raw, tree

NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\"), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..", "app.yaml") and len(name.encode()) <= 255 and name.isprintable()
)


def verified(content: bytes, limits: Limits = LIMITS, digest: str = "") -> Bundle:
    return verify(io.BytesIO(content), limits, digest)


def code(content: bytes, limits: Limits = LIMITS, digest: str = "") -> str:
    with pytest.raises(BundleRefusedError) as refused:
        verified(content, limits, digest)
    return refused.value.code


def packed(place: Path, limits: Limits = LIMITS) -> bytes:
    out = io.BytesIO()
    pack(place, out, limits)
    return out.getvalue()


# -- packing ---------------------------------------------------------------------------------------------------------


def test_the_same_files_give_the_same_bytes_whatever_their_times_owners_and_order(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        "app.yaml": DESCRIPTION,
        "shop.py": b"print()",
        "lib/a.py": b"a",
        "lib/link": "a.py",
        "empty/": b"",
    }
    first = packed(tree(tmp_path / "first", files))
    second = tree(tmp_path / "second", dict(reversed(list(files.items()))))
    os.utime(second / "shop.py", (1, 1))
    (second / "lib" / "a.py").chmod(0o600)
    tree(second, {"__pycache__/shop.pyc": b"x", "lib/__pycache__/a.pyc": b"x", ".git/HEAD": b"x"})
    assert packed(second) == first
    (second / "shop.py").chmod(0o755)
    assert packed(second) != first


def test_a_bundle_says_what_is_in_it(tmp_path: Path) -> None:
    content = packed(tree(tmp_path / "app", {"app.yaml": DESCRIPTION, "lib/a.py": b"a" * 1000, "lib/link": "a.py"}))
    found = verified(content, digest=hashlib.sha256(content).hexdigest())
    assert (found.digest, found.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert list(found.entries) == ["app.yaml", "lib", "lib/a.py", "lib/link"]
    assert found.entries["lib/a.py"] == Entry("lib/a.py", Kind.FILE, 1000)
    assert found.entries["lib/link"].target == "a.py"
    assert found.application.application == "shop"


@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=4).map("/".join), st.binary(max_size=2000), max_size=8))
def test_whatever_is_packed_is_verified_and_other_programs_read_the_same(files: dict[str, bytes]) -> None:
    folders = {"/".join(path.split("/")[:n]) for path in files for n in range(1, len(path.split("/")))}
    contents = {path: content for path, content in files.items() if path not in folders}
    made = bundle(APP, *map(folder, folders), *(file(path, content) for path, content in contents.items()))
    found = verified(made)
    assert {path for path, entry in found.entries.items() if entry.kind is Kind.FOLDER} == folders
    with tarfile.open(fileobj=io.BytesIO(made)) as other:
        read = {member.name: other.extractfile(member) for member in other if member.isfile()}
        assert {name: stream.read() for name, stream in read.items() if stream} == {**contents, "app.yaml": DESCRIPTION}


AWKWARD: dict[str, bytes | str] = {
    "app.yaml": DESCRIPTION,
    "run": b"#!/bin/sh",
    "é" * 49 + "/" + "x" * 200: b"long",
    "deep/" * 30 + "file": b"deep",
    "deep/short": "../app.yaml",
    "deep/long": "../" + ("é" * 49 + "/../") * 3 + "app.yaml",
    "deep/deep/" + "z" * 150: "../../" + "deep/" * 25,
    "n" * 100: b"exactly as long as the field",
    "m" * 101: b"one more",
    "t": "n" * 100,
    "u": "m" * 101,
    " leading and trailing ": b"",
    "empty/": b"",
}
"""What programs that read tar have stumbled over."""


@pytest.mark.parametrize("program", ["tar", "python", "sqfstar"])
def test_whatever_a_bundle_holds_other_programs_unpack_exactly_that(program: str, tmp_path: Path) -> None:
    """Packed again, it is the same bundle: names, contents, links and modes have all survived."""
    place = tree(tmp_path / "app", AWKWARD)
    (place / "run").chmod(0o755)
    made, out = packed(place), tmp_path / "out"
    verified(made)
    if program != "python" and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    if program == "sqfstar":
        subprocess.run(["sqfstar", "-quiet", "-no-progress", tmp_path / "disk"], input=made, check=True)
        unpacking = ["unsquashfs", "-quiet", "-no-progress", "-dest", str(out), str(tmp_path / "disk")]
        subprocess.run(unpacking, check=True, stdout=subprocess.DEVNULL)
    elif program == "tar":
        out.mkdir()
        subprocess.run(["tar", "-x", "-C", out], input=made, check=True)
    else:
        with tarfile.open(fileobj=io.BytesIO(made)) as other:
            other.extractall(out, filter="data")
    assert packed(out) == made


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_is_noticed_wherever_it_is(position: int, byte: int) -> None:
    made = bundle(APP, folder("lib"), file("lib/a.py", b"content"), link("lib/l", "a.py"), file("é" * 60, b"x"))
    digest = hashlib.sha256(made).hexdigest()
    position %= len(made)
    changed = made[:position] + bytes((byte,)) + made[position + 1 :]
    if changed != made:
        with pytest.raises(RingfortError):
            verified(changed, digest=digest)


@given(st.binary(max_size=3000))
def test_any_bytes_are_refused_in_words(content: bytes) -> None:
    assert code(content)


@pytest.mark.parametrize("end", range(0, 5000, 256))
def test_a_bundle_that_was_cut_short_is_refused(end: int) -> None:
    made = bundle(APP, file("shop.py", b"x" * 3000))
    assert end < len(made)
    assert code(made[:end]) == "tar-truncated"


# -- what packing refuses --------------------------------------------------------------------------------------------


def test_a_folder_with_what_no_bundle_may_hold_is_refused(tmp_path: Path) -> None:
    place = tree(tmp_path / "app", {"app.yaml": DESCRIPTION})

    def refused() -> str:
        with pytest.raises(BundleRefusedError) as found:
            packed(place)
        return found.value.code

    os.mkfifo(place / "pipe")
    assert refused() == "fifo"
    (place / "pipe").unlink()
    (place / "tool").write_bytes(b"")
    (place / "tool").chmod(0o4755)
    assert refused() == "setuid"
    (place / "tool").unlink()
    (place / "link").symlink_to("/etc/passwd")
    assert refused() == "link-escapes"
    (place / "link").unlink()
    Path(os.fsdecode(os.fsencode(place) + b"/\xff")).write_bytes(b"")
    assert refused() == "path-malformed"


def test_a_file_that_grows_while_it_is_read_is_refused() -> None:
    with pytest.raises(BundleRefusedError) as refused:
        bundle((Entry("app.yaml", Kind.FILE, 3), b"longer"))
    assert refused.value.code == "file-changed"


# -- attacks, each with its name -------------------------------------------------------------------------------------

APP_RAW = tar.header_of(APP[0]) + DESCRIPTION.ljust(512, b"\0")

ATTACKS: dict[str, tuple[str, bytes]] = {
    "a path that climbs out": ("path-escapes", archive(raw("../evil"))),
    "a path that climbs out in the middle": ("path-escapes", archive(raw("a/../../evil"))),
    "an absolute path": ("path-escapes", archive(raw("/etc/cron.d/evil"))),
    "a path with a dot": ("path-malformed", archive(raw("./evil"))),
    "a path with an empty part": ("path-malformed", archive(raw("a//b"))),
    "a path with a line feed": ("path-malformed", archive(raw("a\nb"))),
    "a path that is no text": ("path-malformed", archive(raw("a\udcff"))),
    "a path that no system takes": ("path-too-long", archive(raw("a" * 300))),
    "a path deeper than any": ("path-too-long", archive(raw("/".join("a" * 65)))),
    "a link out": ("link-escapes", bundle(APP, link("l", "../etc/passwd"))),
    "an absolute link": ("link-escapes", bundle(APP, link("l", "/etc/passwd"))),
    "a link out by way of another": (
        "link-escapes",
        bundle(APP, folder("a"), folder("a/b"), link("a/b/up", "../.."), link("l", "a/b/up/../x")),
    ),
    "links that lead to each other": ("link-loop", bundle(APP, link("a", "b"), link("b", "a"))),
    "a file behind a link": ("parent-missing", bundle(APP, link("etc", "lib"), file("etc/passwd"))),
    "a file in no folder": ("parent-missing", bundle(APP, file("lib/a"))),
    "a hard link out": ("hard-link", archive(raw("l", type_=b"1", target="../../etc/passwd"))),
    "a hard link inside": ("hard-link", archive(APP_RAW, raw("l", type_=b"1", target="app.yaml"))),
    "a character device": ("device-file", archive(raw("null", type_=b"3"))),
    "a block device": ("device-file", archive(raw("sda", type_=b"4"))),
    "a named pipe": ("fifo", archive(raw("pipe", type_=b"6"))),
    "a kind that nobody knows": ("kind-unknown", archive(raw("x", type_=b"Z"))),
    "a sparse file": ("sparse-file", archive(raw("x", type_=b"S"))),
    "setuid": ("setuid", archive(raw("su", mode=0o4755))),
    "setgid": ("setuid", archive(raw("wall", mode=0o2755))),
    "sticky": ("setuid", archive(raw("tmp", mode=0o1777))),
    "the same path twice": ("duplicate-path", bundle(APP, file("a", b"good"), file("a", b"evil"))),
    "a folder and a file of one name": ("duplicate-path", bundle(APP, folder("a"), file("a"))),
    "another order": ("bundle-not-canonical", bundle(file("b"), APP, ordered=False)),
    "an owner": ("bundle-not-canonical", archive(raw("a", mode=0o664))),
    "something behind the end": ("bundle-not-canonical", bundle(APP) + b"\0"),
    "a second archive behind the end": ("bundle-not-canonical", bundle(APP) + bundle(APP)),
    "padding that says something": ("tar-unreadable", archive(APP_RAW[:-1] + b"x")),
    "no description": ("description-missing", bundle(file("shop.py"))),
    "a description that is a link": ("description-missing", bundle(link("app.yaml", "b"), file("b", DESCRIPTION))),
    "a description that is a folder": ("description-missing", bundle(folder("app.yaml"))),
    "a header as long as the archive": ("tar-unreadable", archive(raw("x", type_=b"x", content=b"y" * 100_000))),
    "headers without an end": ("tar-unreadable", archive(raw("x", type_=b"g") * 20)),
    "a header that names all files": ("tar-unreadable", archive(raw("x", type_=b"g", content=b"10 path=a\n"))),
    "a record of no length": ("tar-unreadable", archive(raw("x", type_=b"x", content=b"999999 path=a\n"))),
    "a size that is no number": ("tar-unreadable", archive(raw("x", type_=b"x", content=b"11 size=-1\n") + raw("a"))),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_with_its_name(attack: str) -> None:
    wanted, content = ATTACKS[attack]
    assert code(content) == wanted


def test_what_a_header_says_in_two_ways_is_refused() -> None:
    """Programs that differ in which of two names they believe find different files in one archive."""
    longer = raw("x", type_=b"x", content=b"18 path=elsewhere\n") + raw("here")
    assert code(archive(longer)) == "bundle-not-canonical"
    assert (
        code(archive(raw("././@LongLink", type_=b"L", content=b"elsewhere\0") + raw("here"))) == "bundle-not-canonical"
    )


def test_a_size_in_base_256_is_no_way_around_the_limit() -> None:
    header = bytearray(raw("a"))
    header[124:136] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:512]) + 8 * 32)
    assert code(bytes(header)) == "bundle-too-large"


SMALL = Limits(bytes=8192, entries=5, path_bytes=30, depth=3)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (lambda: bundle(APP, file("a", b"x" * 9000)), "bundle-too-large"),
        (lambda: bundle(APP, *(file(f"f{n}", b"x" * 2000) for n in range(4))), "bundle-too-large"),
        (lambda: bundle(APP, *(file(f"f{n}") for n in range(5))), "too-many-files"),
        (lambda: bundle(APP, file("a" * 31)), "path-too-long"),
        (lambda: bundle(APP, folder("a"), folder("a/b"), folder("a/b/c"), folder("a/b/c/d")), "path-too-long"),
    ],
)
def test_limits_hold(content: Callable[[], bytes], wanted: str) -> None:
    assert code(content(), SMALL) == wanted


def test_another_digest_is_refused() -> None:
    assert code(bundle(APP), digest="00" * 32) == "digest-differs"


@pytest.mark.parametrize(
    "description",
    [
        b"application: shop\nruntime: wasm\nmodule: shop.wasm\n",
        b"application: shop\nruntime: static\n",
        b"application: shop\nruntime: static\ndirectory: app.yaml\n",
        b"application: a\nruntime: wasm\nmodule: x\nsandbox: {partial-trust: {directories: [{at: /a, path: b}]}}",
    ],
)
def test_software_that_lacks_what_it_speaks_of_is_refused(description: bytes) -> None:
    assert code(bundle(file("app.yaml", description))) == "file-missing"


def test_a_description_that_is_not_sound_is_refused_with_its_lines() -> None:
    with pytest.raises(DeclarationError) as refused:
        verified(bundle(file("app.yaml", b"application: shop\nruntime: pyton\n")))
    assert str(refused.value.problems[0].origin) == "app.yaml:2:10"


def test_a_large_bundle_is_verified_in_little_memory() -> None:
    made = io.BytesIO(bundle(APP, file("large", b"x" * 60_000_000)))
    tracemalloc.start()
    verify(made, Limits())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_following_many_links_costs_little() -> None:
    links = [link(f"l{n:05}", "/".join([f"l{n + 1:05}"] + ["x"] * 100)) for n in range(5000)]
    assert code(bundle(APP, *links)) == "link-loop"
