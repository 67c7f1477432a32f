"""An OCI image archive as a bundle: every digest checked, every layer unpacked within bounds of memory and disk.

The archive is what `skopeo copy ... oci-archive:FILE` and `docker save` write: a tar of an image layout (OCI image
specification 1.1, image-layout.md).
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

from ringfort.compute import tar
from ringfort.compute.application import FILE_NAME
from ringfort.compute.bundle import Writer, write
from ringfort.compute.entries import LIMITS, MIB, BundleRefusedError, Limits
from ringfort.compute.layers import Layered
from ringfort.environment.problems import shown

MOST_MEMBERS = 10_000
MOST_LAYERS = 128
LARGEST_DOCUMENT = 4 * MIB
FREE = 16 * MIB
"""Bytes that a layer may expand to whatever its ratio: some kilobytes of zeros are no attack."""

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_PLAIN = {"application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"}
_GZIP = {"application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"}
_INDEX = {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}


def pack_image(
    archive: BinaryIO, out: Writer, spool: BinaryIO, description: bytes | None = None, limits: Limits = LIMITS
) -> None:
    """Write an image as a bundle.

    Args:
        archive: can be read at any place.
        spool: an empty file for the layers' contents.
        description: an ``app.yaml``, in place of the image's own.

    Raises:
        BundleRefusedError: with the reason as its code.
    """
    image = _Archive(archive)
    manifest = image.manifest()
    layers = _list_of(manifest, "layers")
    identities = _list_of(_table(image.document(manifest.get("config")), "rootfs"), "diff_ids")
    if not layers or len(layers) > MOST_LAYERS or len(layers) != len(identities):
        raise _unknown("its layers and their digests don't match")
    files = Layered(spool, limits)
    left = 2 * limits.bytes
    for layer, identity in zip(layers, identities, strict=True):
        with_limits = image.layer(layer, identity, limits, left)
        files.apply(with_limits)
        left -= with_limits.finish()
    if description is not None:
        files.put(FILE_NAME, description)
    write(files.entries(), out)


def _unknown(why: str) -> BundleRefusedError:
    hint = "make one with `skopeo copy docker://NAME oci-archive:FILE` or `docker save`"
    return BundleRefusedError("image-unreadable", f"this is no OCI image archive: {why}", hint)


class _Part:
    """A part of a file as a stream; ``hash`` is of what was read of it."""

    def __init__(self, file: BinaryIO, position: int, size: int) -> None:
        self.file, self.position, self.left = file, position, size
        self.hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        self.file.seek(self.position)
        piece = self.file.read(min(size, self.left))
        self.position += len(piece)
        self.left -= len(piece)
        self.hash.update(piece)
        return piece


class _Counting:
    def __init__(self, file: BinaryIO) -> None:
        self.file, self.position = file, 0

    def read(self, size: int) -> bytes:
        piece = self.file.read(size)
        self.position += len(piece)
        return piece


class _Archive:
    """The blobs of an image layout."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}
        file.seek(0)
        counting = _Counting(file)
        for number, member in enumerate(tar.members(counting)):
            path = member.path.removeprefix("./")
            if number >= MOST_MEMBERS:
                raise _unknown("it has too many files")
            if path in self._places:
                raise BundleRefusedError("duplicate-path", f"the image has {shown(path)} twice")
            if member.type in tar.FILES:
                self._places[path] = counting.position, member.size
        if "oci-layout" not in self._places:
            raise _unknown("there is no oci-layout in it")

    def manifest(self) -> dict[str, Any]:
        """The manifest of the image for this platform."""
        index = self._json(self._part("index.json"))
        for _ in range(3):
            chosen = _chosen(_list_of(index, "manifests"))
            found = self.document(chosen)
            if chosen.get("mediaType") not in _INDEX and "manifests" not in found:
                return found
            index = found
        raise _unknown("its indexes lead to each other")

    def document(self, descriptor: object) -> dict[str, Any]:
        """The JSON document that a descriptor means, its digest checked."""
        part, digest = self._blob(descriptor)
        found = self._json(part)
        _refuse_digest(part.hash.hexdigest(), digest)
        return found

    def layer(self, descriptor: object, identity: object, limits: Limits, left: int) -> _Layer:
        """A layer, to be read once and then finished."""
        part, digest = self._blob(descriptor)
        assert isinstance(descriptor, dict)
        media = descriptor.get("mediaType")
        if media not in _PLAIN | _GZIP:
            hint = "write it with gzip: skopeo copy --dest-compress-format gzip ..."
            raise BundleRefusedError("layer-unknown", f"layers of the kind {shown(media)} can't be read", hint)
        return _Layer(part, digest, _digest(identity), media in _GZIP, limits, left)

    def _blob(self, descriptor: object) -> tuple[_Part, str]:
        digest = _digest(descriptor.get("digest") if isinstance(descriptor, dict) else None)
        return self._part(f"blobs/sha256/{digest}"), digest

    def _part(self, path: str) -> _Part:
        if path not in self._places:
            raise _unknown(f"{shown(path)} is missing")
        position, size = self._places[path]
        return _Part(self._file, position, size)

    def _json(self, part: _Part) -> dict[str, Any]:
        if part.left > LARGEST_DOCUMENT:
            raise _unknown("a document in it is too large")
        try:
            found = json.loads(tar.exactly(part, part.left))
        except (ValueError, RecursionError) as error:
            raise _unknown("a document in it is no JSON") from error
        if not isinstance(found, dict):
            raise _unknown("a document in it is no object")
        return found


class _Layer:
    """A layer's tar: inflated piece by piece, within its ratio, hashed on both sides."""

    def __init__(self, part: _Part, digest: str, identity: str, gzip: bool, limits: Limits, left: int) -> None:
        self._part, self._digest, self._identity = part, digest, identity
        self._inflater = zlib.decompressobj(wbits=31) if gzip else None
        self._ratio, self._most = limits.ratio, left
        self._hash = hashlib.sha256()
        self._taken, self._given, self._waiting = 0, 0, b""

    def read(self, size: int) -> bytes:
        piece = self._part.read(size) if self._inflater is None else self._inflated(min(size, tar.PIECE))
        self._given += len(piece)
        if self._given > self._most:
            raise BundleRefusedError("bundle-too-large", "the image's layers are too large together")
        self._hash.update(piece)
        return piece

    def finish(self) -> int:
        """Read the rest and compare the digests; how many bytes it expanded to."""
        while self.read(tar.PIECE):
            pass
        _refuse_digest(self._part.hash.hexdigest(), self._digest)
        _refuse_digest(self._hash.hexdigest(), self._identity)
        return self._given

    def _inflated(self, size: int) -> bytes:
        while True:
            assert self._inflater is not None
            if not self._waiting:
                self._waiting = self._part.read(tar.PIECE)
                self._taken += len(self._waiting)
            try:
                piece = self._inflater.decompress(self._waiting, size)
            except zlib.error as error:
                raise BundleRefusedError("layer-damaged", "a layer can't be decompressed") from error
            if self._given + len(piece) > FREE + self._ratio * self._taken:
                message = f"a layer expands to more than {self._ratio} times its size"
                raise BundleRefusedError("decompression-bomb", message)
            ended = not self._waiting
            self._waiting = self._inflater.unconsumed_tail
            if self._inflater.eof:
                self._waiting = self._inflater.unused_data
                ended = not self._waiting and not self._part.left
                if not ended:
                    self._inflater = zlib.decompressobj(wbits=31)  # gzip members follow each other (RFC 1952, 2.2)
            elif ended and not piece:
                raise BundleRefusedError("layer-damaged", "a layer ends in the middle")
            if piece or ended:
                return piece


def _chosen(descriptors: list[Any]) -> dict[str, Any]:
    """The only image, or the one for the platform that sandboxes have; attestations are none."""
    images = [
        one
        for one in descriptors
        if isinstance(one, dict) and "vnd.docker.reference.type" not in _mapping(one.get("annotations"))
    ]
    fitting = [
        one
        for one in images
        if (_mapping(one.get("platform")).get("os"), _mapping(one.get("platform")).get("architecture"))
        == ("linux", "amd64")
    ]
    if len(images) == 1:
        return dict(images[0])
    if len(fitting) != 1:
        raise _unknown("it holds no image for linux/amd64, or several")
    return dict(fitting[0])


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    return dict(_mapping(document.get(key)))


def _list_of(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    return found if isinstance(found, list) else []


def _digest(value: object) -> str:
    found = _DIGEST.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _unknown("a digest is missing, or not SHA-256")
    return found[1]


def _refuse_digest(found: str, wanted: str) -> None:
    if found != wanted:
        raise BundleRefusedError("digest-differs", f"a part's SHA-256 is {found}, not {wanted}", "the file is damaged")
