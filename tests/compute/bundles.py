"""Bundles and images for tests, sound ones and others."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ringfort.compute import tar
from ringfort.compute.bundle import write
from ringfort.compute.entries import Entry, Kind

DESCRIPTION = b"application: shop\nruntime: python\nmodule: shop\n"


def file(path: str, content: bytes = b"", *, executable: bool = False) -> tuple[Entry, bytes]:
    return Entry(path, Kind.FILE, len(content), executable), content


def folder(path: str) -> tuple[Entry, bytes]:
    return Entry(path, Kind.FOLDER), b""


def link(path: str, target: str) -> tuple[Entry, bytes]:
    return Entry(path, Kind.LINK, target=target), b""


APP = file("app.yaml", DESCRIPTION)


def bundle(*entries: tuple[Entry, bytes], ordered: bool = True) -> bytes:
    """A bundle with what is given, in canonical form wherever it may."""
    out = io.BytesIO()
    found = sorted(entries, key=lambda pair: pair[0].path.encode()) if ordered else entries

    def pieces(content: bytes) -> Iterator[bytes]:
        yield content

    write(((entry, pieces(content)) for entry, content in found), out)
    return out.getvalue()


def raw(path: str, *, type_: bytes = b"0", mode: int = 0o644, content: bytes = b"", target: str = "") -> bytes:
    """A member as anybody may write it."""
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.size, info.linkname = type_, mode, len(content), target
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + content + b"\0" * (-len(content) % tar.BLOCK)


def archive(*members: bytes) -> bytes:
    return b"".join(members) + tar.END


def tree(place: Path, files: Mapping[str, bytes | str]) -> Path:
    """A folder: bytes are files' contents, text where links lead; names that end in a slash are folders."""
    place.mkdir(exist_ok=True)
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    return place


def image(
    layers: Sequence[bytes],
    *,
    compressed: bool = True,
    changes: Mapping[str, bytes] | None = None,
    contents: Sequence[bytes] = (),
    media: str = "",
) -> bytes:
    """An OCI image archive; ``changes`` puts other bytes in place of a blob's or the index's.

    Args:
        contents: what the configuration says the layers are, if not what they are.
        media: the layers' media type, if not what it is.
    """
    blobs: dict[str, bytes] = {}

    def add(content: bytes, media: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

    kind = media or "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if compressed else "")
    parts = [add(gzip.compress(layer, mtime=0) if compressed else layer, kind) for layer in layers]
    identities = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in contents or layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": identities}}
    configured = add(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "config": configured, "layers": parts}
    listed = add(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    blobs["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [listed]}).encode()
    blobs["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    blobs |= changes or {}
    return archive(*(raw(name, content=content) for name, content in sorted(blobs.items())))
