"""What a call is: one row of the table of calls, and the usual ways of filling it in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from ringfort.control import models
from ringfort.control.authorisation import PLATFORM, Resource
from ringfort.control.callers import Caller
from ringfort.control.calls import Call, Outcome
from ringfort.control.serving import Served
from ringfort.control.state import State

Reading = Callable[[Served, Connection, Call], BaseModel | bytes]
Changing = Callable[[Served, State, Connection, Call], Outcome]
Preparing = Callable[[Served, Connection, Call], Any]
News = Callable[[Any, Any], bool]
Topic = Callable[[Mapping[str, str]], str]
About = Callable[[State, Caller, Mapping[str, str], BaseModel | None], Resource]

SMALL = 64 * 1024
LARGE = 32 * 1024 * 1024
"""Bytes of a body. Only publications are large: the environment of 10,000 hosts has some 10 MB."""

BYTES, JSON = "application/octet-stream", "application/json"

PARAMETERS = {
    "name": r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    "application": r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    "thumbprint": r"[0-9a-f]{64}",
    "sequence": r"[0-9]{1,15}",
    "file": r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}",
    "upload": r"[0-9a-f]{32}",
    "offset": r"[0-9]{1,15}",
    "instance": r"i-[0-9a-f]{12}",
    "public": r"[a-z0-9][a-z0-9.-]{0,252}",
    "path": r"[0-9A-Za-z][0-9A-Za-z._/-]{0,255}",
}
"""What the variable parts of paths look like."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call.

    Attributes:
        name: its ``operationId``.
        action: what policies know it by.
        about: the resource that policies judge.
        answer: the document's model, or a media type for bytes.
        topics: what a read depends on; answers are kept while none of these changes. Empty: not kept.
        customers: whether it is for customers' certificates, on their listener, or for the platform's own.
        waits: whether it may wait for something to change (long poll).
        raw: whether the body is bytes and no JSON.
        prepare: what is done before a change, in a transaction that only reads, because it takes long.
        follows: of a read that may wait: the topic whose changes bring news, by the path's variable parts.
        news: whether an answer to a query is worth giving at once; goes with ``follows``.
    """

    method: str
    path: str
    name: str
    summary: str
    action: str
    answer: type[BaseModel] | str
    about: About
    read: Reading | None = None
    change: Changing | None = None
    form: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    status: int = 200
    topics: tuple[str, ...] = ()
    customers: bool = False
    waits: bool = False
    raw: bool = False
    prepare: Preparing | None = None
    follows: Topic | None = None
    news: News | None = None
    largest: int = SMALL
    refusals: tuple[int, ...] = field(default=())

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's variable parts."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


def platform(_state: State, _caller: Caller, _parameters: Mapping[str, str], _form: BaseModel | None) -> Resource:
    """The platform as a whole."""
    return PLATFORM


def node(state: State, _caller: Caller, parameters: Mapping[str, str], form: BaseModel | None) -> Resource:
    """The node in the path, or that a token is for."""
    if isinstance(form, models.EnrolmentTokenForm):
        return Resource("Node", form.node, form.site)
    name = parameters["name"]
    return Resource("Node", name, state.sites.get(name, ""))


def customer(_state: State, _caller: Caller, parameters: Mapping[str, str], form: BaseModel | None) -> Resource:
    """The customer in the path, or that is made."""
    return Resource("CustomerAccount", form.name if isinstance(form, models.CustomerForm) else parameters["name"])


def plain(function: Callable[[Connection, Call], Any]) -> Reading:
    """A read that needs the database only."""
    return lambda _served, connection, call: function(connection, call)


def with_served(function: Callable[[Served, Connection, Call], Any]) -> Changing:
    """A change that needs what is the controller's own."""
    return lambda served, _state, connection, call: function(served, connection, call)


def alone(function: Callable[[Connection, Call], Outcome]) -> Changing:
    """A change that needs the database only."""
    return lambda _served, _state, connection, call: function(connection, call)
