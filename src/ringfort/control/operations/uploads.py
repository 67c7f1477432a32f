"""Software on its way in: announced with its digest, sent in parts, sealed as they come, resumed where it stopped."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from ringfort.compute.entries import LIMITS
from ringfort.compute.sealing import CustomerKey
from ringfort.control import application_models as models
from ringfort.control import sealed
from ringfort.control.application_tables import deployments, upload_parts, uploads
from ringfort.control.calls import Call, Change, Outcome
from ringfort.control.clock import to_number
from ringfort.control.errors import ProblemError, conflict, not_found
from ringfort.control.recording import digest
from ringfort.control.serving import Served

LARGEST_PART = 4 * 1024 * 1024
MOST_UNFINISHED = 5
_UNNEEDED = uploads.c.name.not_in(select(deployments.c.upload))

MOST_BYTES = 2 * 1024 * 1024 * 1024
"""Bytes of all software of a customer, with the versions that are kept for going back."""


def begin(served: Served, connection: Connection, call: Call) -> Outcome:
    """Announce software; what is here of it already need not be sent again."""
    customer, form = call.parameters["name"], call.body(models.UploadForm)
    if form.size > LIMITS.bytes:
        raise ProblemError(422, "bundle-too-large", f"software has at most {LIMITS.bytes:,} bytes")
    known = connection.execute(
        select(uploads).where(
            uploads.c.customer == customer, uploads.c.digest == form.digest, uploads.c.size == form.size
        )
    ).first()
    if known is not None:  # its day begins anew: it is about to be needed
        connection.execute(update(uploads).where(uploads.c.name == known.name).values(begun=to_number(call.now)))
        return Outcome(_shown(known))
    _refuse_too_much(connection, customer, form.size)
    sealed.new_or_known_key(served, connection, customer, call.now)
    name = secrets.token_hex(16)
    connection.execute(
        insert(uploads).values(
            name=name, customer=customer, digest=form.digest, size=form.size, received=0, begun=to_number(call.now)
        )
    )
    after = {"digest": form.digest, "bytes": form.size}
    change = Change("control:upload:begin", f"upload/{customer}/{name}", None, after, ())
    return Outcome(_shown(one(connection, customer, name)), change, 201)


def read_upload(connection: Connection, call: Call) -> models.Upload:
    """How much of it is here."""
    return _shown(one(connection, call.parameters["name"], call.parameters["upload"]))


def take_part(served: Served, connection: Connection, call: Call) -> Outcome:
    """The next part; parts come in order, and a part that is here already changes nothing."""
    customer, name, offset = call.parameters["name"], call.parameters["upload"], int(call.parameters["offset"])
    upload = one(connection, customer, name)
    size = len(call.content)
    key = sealed.known_key(served, connection, customer)
    if offset < upload.received:
        _refuse_other(connection, key, upload, offset, call.content)
        return Outcome(_shown(upload))
    if offset != upload.received or not size or offset + size > upload.size:
        hint = f"send at most {upload.size - upload.received} bytes from {upload.received} on"
        raise conflict("part-out-of-place", f"{upload.received} of {upload.size} bytes are here", hint)
    connection.execute(
        insert(upload_parts).values(
            upload=name, offset=offset, size=size, content=key.seal(sealed.part(name, offset), call.content)
        )
    )
    connection.execute(update(uploads).where(uploads.c.name == name).values(received=offset + size))
    after = {"received": offset + size, "of": upload.size, "part": digest(call.content)}
    change = Change("control:upload:part", f"upload/{customer}/{name}", {"received": offset}, after, ())
    return Outcome(_shown(one(connection, customer, name)), change)


def drop(connection: Connection, call: Call) -> Outcome:
    """Forget software that no deployment needs."""
    customer, name = call.parameters["name"], call.parameters["upload"]
    upload = one(connection, customer, name)
    if connection.execute(select(deployments.c.number).where(deployments.c.upload == name)).first() is not None:
        raise conflict("upload-needed", "a deployment needs this software", "delete the application first")
    remove(connection, [name])
    before = {"digest": upload.digest, "received": upload.received, "of": upload.size}
    return Outcome(_shown(upload), Change("control:upload:drop", f"upload/{customer}/{name}", before, None, ()))


def one(connection: Connection, customer: str, name: str) -> Row[Any]:
    """An upload of a customer.

    Raises:
        ProblemError: there is no such upload, or it is another customer's.
    """
    row = connection.execute(
        select(uploads).where(uploads.c.name == name, uploads.c.customer == customer)
    ).one_or_none()
    if row is None:
        raise not_found(f"upload {name}")
    return row


def remove(connection: Connection, names: Collection[str]) -> None:
    """Forget uploads with their parts."""
    connection.execute(delete(upload_parts).where(upload_parts.c.upload.in_(names)))
    connection.execute(delete(uploads).where(uploads.c.name.in_(names)))


def remove_old(connection: Connection, before: int) -> None:
    """Forget uploads from before a time that no deployment needs."""
    names = list(connection.execute(select(uploads.c.name).where(uploads.c.begun < before, _UNNEEDED)).scalars())
    if names:
        remove(connection, names)


def remove_unneeded(connection: Connection, names: Collection[str]) -> None:
    """Forget those of some uploads that no deployment needs any more."""
    gone = list(connection.execute(select(uploads.c.name).where(uploads.c.name.in_(names), _UNNEEDED)).scalars())
    if gone:
        remove(connection, gone)


def remove_all(connection: Connection, customer: str) -> None:
    """Forget all uploads of a customer; no deployment of it may be left."""
    remove(connection, list(connection.execute(select(uploads.c.name).where(uploads.c.customer == customer)).scalars()))


class Stored:
    """Software as a stream, opened part by part."""

    def __init__(self, connection: Connection, key: CustomerKey, upload: Row[Any]) -> None:
        self._connection, self._key, self._upload = connection, key, upload
        self._offset, self._waiting = 0, memoryview(b"")

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        if not self._waiting:
            content = part_at(self._connection, self._key, self._upload, self._offset)
            self._offset += len(content)
            self._waiting = memoryview(content)
        piece, self._waiting = bytes(self._waiting[:size]), self._waiting[size:]
        return piece


def part_at(connection: Connection, key: CustomerKey, upload: Row[Any], offset: int) -> bytes:
    """The part that begins there; empty where none does."""
    content = connection.execute(
        select(upload_parts.c.content).where(upload_parts.c.upload == upload.name, upload_parts.c.offset == offset)
    ).scalar()
    return b"" if content is None else key.open(sealed.part(upload.name, offset), content)


def _refuse_too_much(connection: Connection, customer: str, size: int) -> None:
    mine = uploads.c.customer == customer
    unfinished = connection.execute(
        select(func.count()).select_from(uploads).where(mine, uploads.c.received < uploads.c.size)
    ).scalar_one()
    if unfinished >= MOST_UNFINISHED:
        hint = "finish one, or drop it; after a day they go by themselves"
        raise conflict("too-many-uploads", f"{unfinished} uploads are not finished", hint)
    kept = connection.execute(select(func.coalesce(func.sum(uploads.c.size), 0)).where(mine)).scalar_one()
    if kept + size > MOST_BYTES:
        message = f"with this, there would be more than {MOST_BYTES:,} bytes of software"
        raise conflict("too-much-software", message, "delete applications that are no longer needed")


def _refuse_other(connection: Connection, key: CustomerKey, upload: Row[Any], offset: int, content: bytes) -> None:
    if part_at(connection, key, upload, offset) != content:
        message = f"{upload.received} of {upload.size} bytes are here, and others than these"
        raise conflict("part-out-of-place", message, f"go on from {upload.received}")


def _shown(row: Row[Any]) -> models.Upload:
    return models.Upload(upload=row.name, digest=row.digest, size=row.size, received=row.received, part=LARGEST_PART)
