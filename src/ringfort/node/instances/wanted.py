"""What a controller wants to run here, read with suspicion: names become paths, so they have to be names. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ringfort.node.errors import ControllerError

_INSTANCE = re.compile(r"i-[0-9a-f]{12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
MOST = 1000
"""Instances of one node."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an application with one state of its settings."""

    deployment: int
    settings: int

    def covers(self, told: Version) -> bool:
        """Whether what has this version is what it was told to be: newer settings are as good."""
        return self.deployment == told.deployment and self.settings >= told.settings


@dataclass(frozen=True, slots=True)
class Wanted:
    """An instance that belongs here.

    Attributes:
        place: the host of the environment where it runs.
        runs: False: it is stopped, and kept.
        digest: SHA-256 of its software, hex; ``size`` its bytes.
    """

    name: str
    place: str
    customer: str
    application: str
    version: Version
    runs: bool
    digest: str
    size: int


def read(document: Mapping[str, Any]) -> tuple[str, dict[str, Wanted]]:
    """The revision of a controller's answer, and what it wants by name.

    Raises:
        ControllerError: it is not what a controller answers.
    """
    try:
        revision, listed = document["revision"], document["instances"]
        found = [_one(entry) for entry in listed]
    except (KeyError, TypeError, AttributeError) as error:
        raise ControllerError("bad-answer", f"the controller's list of instances can't be read: {error!r}") from error
    if not isinstance(revision, str) or not (revision == "" or _DIGEST.fullmatch(revision)) or len(found) > MOST:
        raise ControllerError("bad-answer", "the controller's list of instances can't be read")
    return revision, {one.name: one for one in found}


def _one(entry: Mapping[str, Any]) -> Wanted:
    name, digest = entry["instance"], entry["digest"]
    texts = [name, digest, entry["place"], entry["customer"], entry["application"]]
    numbers = [entry["deployment"], entry["settings"], entry["size"]]
    if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
        raise TypeError(str(name)[:40])
    if not _INSTANCE.fullmatch(name) or not _DIGEST.fullmatch(digest):
        raise TypeError(name[:40])
    version = Version(entry["deployment"], entry["settings"])
    runs = entry["state"] == "running"
    return Wanted(name, entry["place"], entry["customer"], entry["application"], version, runs, digest, entry["size"])
