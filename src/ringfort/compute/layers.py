"""Layers of an image, one put over the other: what is there in the end (OCI image specification 1.1, layer.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from ringfort.compute import tar
from ringfort.compute.bundle import refuse_kind
from ringfort.compute.entries import BundleRefusedError, Entry, Kind, Limits, refuse_path, refuse_target
from ringfort.environment.problems import shown

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(slots=True)
class _Node:
    kind: Kind
    layer: int
    size: int = 0
    offset: int = 0
    executable: bool = False
    target: str = ""
    children: dict[str, _Node] = field(default_factory=dict)


class Layered:
    """The files of an image. Contents are put aside into ``spool``; layers are given from the lowest up."""

    def __init__(self, spool: BinaryIO, limits: Limits) -> None:
        self._spool, self._limits = spool, limits
        self._root = _Node(Kind.FOLDER, 0)
        self._layer = 0
        self._seen = 0
        self._written = 0

    def apply(self, layer: tar.Reader) -> None:
        """Put one more layer over what is there.

        Raises:
            BundleRefusedError: it holds what no application may.
        """
        self._layer += 1
        for member in tar.members(layer):
            self._seen += 1
            if self._seen > 4 * self._limits.entries:
                raise BundleRefusedError("too-many-files", "the image's layers have too many files")
            path = member.path.removeprefix("./").removesuffix("/")
            if path in ("", "."):
                continue
            refuse_path(path, self._limits)
            name = path.rpartition("/")[2]
            if name.startswith(WHITEOUT):
                self._white_out(path, name)
            else:
                self._put(path, member)

    def put(self, path: str, content: bytes) -> None:
        """Put a file of our own over all layers."""
        folder, name = self._place(path)
        folder.children[name] = self._file(iter((content,)), len(content), executable=False)

    def entries(self) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """All of it, in the order of a bundle."""
        found = sorted(self._all(), key=lambda pair: pair[0].encode())
        for path, node in found:
            size = node.size if node.kind is Kind.FILE else 0
            yield Entry(path, node.kind, size, node.executable, node.target), self._content(node)

    def _all(self) -> Iterator[tuple[str, _Node]]:
        waiting = [("", self._root)]
        while waiting:
            prefix, node = waiting.pop()
            for name, child in node.children.items():
                path = f"{prefix}/{name}" if prefix else name
                yield path, child
                waiting.append((path, child))

    def _content(self, node: _Node) -> Iterator[bytes]:
        left, position = node.size, node.offset
        while left:
            self._spool.seek(position)
            piece = self._spool.read(min(left, tar.PIECE))
            left, position = left - len(piece), position + len(piece)
            yield piece

    def _white_out(self, path: str, name: str) -> None:
        folder, _ = self._place(path)
        if name == OPAQUE:
            self._remove_lower(folder)
            return
        hidden = folder.children.get(name.removeprefix(WHITEOUT))
        if hidden is None:
            return
        self._remove_lower(hidden)
        if hidden.layer < self._layer and not hidden.children:
            del folder.children[name.removeprefix(WHITEOUT)]

    def _remove_lower(self, node: _Node) -> None:
        """Remove what lower layers put below a node; whiteouts mean nothing to their own layer."""
        for name, child in list(node.children.items()):
            self._remove_lower(child)  # as deep as paths may be
            if child.layer < self._layer and not child.children:
                del node.children[name]

    def _put(self, path: str, member: tar.Member) -> None:
        if member.type == tar.HARD_LINK:
            self._link_hard(path, member.target)
            return
        refuse_kind(member)
        folder, name = self._place(path)
        present = folder.children.get(name)
        if present is not None and present.layer == self._layer and (present.kind, member.type) != (Kind.FOLDER, b"5"):
            raise BundleRefusedError("duplicate-path", f"{shown(path)} is in one layer twice")
        if member.type == tar.FOLDER:
            if present is not None and present.kind is Kind.FOLDER:
                present.layer = self._layer
            else:
                folder.children[name] = _Node(Kind.FOLDER, self._layer)
        elif member.type == tar.SYMBOLIC_LINK:
            target = _inside(path, member.target)
            refuse_target(path, target, self._limits)
            folder.children[name] = _Node(Kind.LINK, self._layer, target=target)
        else:
            folder.children[name] = self._file(member.pieces(), member.size, executable=bool(member.mode & 0o100))

    def _file(self, content: Iterator[bytes], size: int, *, executable: bool) -> _Node:
        offset = self._written
        if offset + size > 2 * self._limits.bytes:
            raise BundleRefusedError("bundle-too-large", "the image's layers are too large together")
        self._spool.seek(offset)
        for piece in content:
            self._spool.write(piece)
        self._written += size
        return _Node(Kind.FILE, self._layer, size, offset, executable)

    def _link_hard(self, path: str, target: str) -> None:
        """A hard link becomes a file of its own: the same content, wherever it was."""
        target = target.removeprefix("./")
        refuse_path(target, self._limits)
        node: _Node | None = self._root
        for part in target.split("/"):
            node = node.children.get(part) if node is not None else None
        if node is None or node.kind is not Kind.FILE:
            raise BundleRefusedError("hard-link", f"{shown(path)} is a hard link to no file: {shown(target)}")
        folder, name = self._place(path)
        folder.children[name] = _Node(Kind.FILE, self._layer, node.size, node.offset, node.executable)

    def _place(self, path: str) -> tuple[_Node, str]:
        """The folder that a path lies in, made where it is missing."""
        *parents, name = path.split("/")
        node = self._root
        for part in parents:
            child = node.children.get(part)
            if child is None or (child.kind is not Kind.FOLDER and child.layer < self._layer):
                if child is not None and child.kind is Kind.LINK:
                    raise _through_link(path)
                child = node.children[part] = _Node(Kind.FOLDER, self._layer)
            if child.kind is not Kind.FOLDER:
                raise _through_link(path)
            node = child
        return node, name


def _through_link(path: str) -> BundleRefusedError:
    return BundleRefusedError("path-through-link", f"{shown(path)} lies behind something that is no folder")


def _inside(path: str, target: str) -> str:
    """An image's absolute link means the image's own top: written relative, it stays so wherever the files are."""
    if not target.startswith("/"):
        return target
    return "../" * path.count("/") + (target.lstrip("/") or ".")
