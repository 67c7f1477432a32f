"""What is public, as a JSON document: what a file or another machine says of an edge."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from ringfort.gateway.edge.model import Edge, EdgeError

LARGEST = 16 * 1024 * 1024
"""Bytes of a document: some 50,000 endpoints."""

_ADAPTER = TypeAdapter(Edge)


def read(text: bytes) -> Edge:
    """The edge that a document describes.

    Raises:
        EdgeError: it describes none (``edge-document``, with the place), or something that can't be public.
    """
    if len(text) > LARGEST:
        raise EdgeError("edge-document", f"an edge's document has at most {LARGEST} bytes")
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)[:5]
        ]
        raise EdgeError("edge-document", "; ".join(faults), "see docs/gateway.md") from error


def write(edge: Edge) -> bytes:
    """The document; `read` gives the same edge again."""
    return _ADAPTER.dump_json(edge, indent=2, by_alias=True) + b"\n"
