"""From nodes to validated forms, one entry at a time, with every error of pydantic put at its place in the file."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ringfort.environment import limits, schema
from ringfort.environment.nodes import (
    Ambiguous,
    Mapping,
    Node,
    Place,
    Scalar,
    Sequence,
    TooManyItemsError,
    place_at,
    scalar_value,
    value,
)
from ringfort.environment.problems import Problems, shown
from ringfort.environment.words import Name

F = TypeVar("F", bound=schema.Form)

_NAMED: TypeAdapter[str] = TypeAdapter(Name)


@dataclass(frozen=True, slots=True)
class Entry(Generic[F]):
    """One entry of a section: its name (empty in a list), where it stands, and its form."""

    name: str
    key: Node
    node: Node
    form: F

    def at(self, *path: str | int) -> Place:
        """The place of a part of the entry; of the entry itself when there is no such part."""
        return place_at(self.node, path) or self.key.place


@dataclass(slots=True)
class Declaration:
    """The file's content, form by form. ``broken`` has the names of entries that were refused already, by section."""

    root: Mapping
    header: schema.EnvironmentForm
    header_valid: bool
    sites: dict[str, Entry[schema.SiteForm]] = field(default_factory=dict)
    hosts: dict[str, Entry[schema.HostForm]] = field(default_factory=dict)
    groups: dict[str, Entry[schema.GroupForm]] = field(default_factory=dict)
    services: dict[str, Entry[schema.ServiceForm]] = field(default_factory=dict)
    floating: dict[str, Entry[schema.FloatingForm]] = field(default_factory=dict)
    flows: list[Entry[schema.FlowForm]] = field(default_factory=list)
    published: list[Entry[schema.PublishedForm]] = field(default_factory=list)
    broken: dict[str, set[str]] = field(default_factory=dict)

    def at(self, *path: str | int) -> Place:
        """The place of a part of the root."""
        return place_at(self.root, path) or self.root.place


SECTIONS = ("sites", "hosts", "groups", "services", "floating", "flows", "published")


def declaration(root: Mapping, problems: Problems) -> Declaration:
    """Validate every part of the file on its own; what is not valid is among the ``problems`` and left out."""
    header_node = Mapping(root.source, root.mark, {k: v for k, v in root.entries.items() if k not in SECTIONS})
    header = form(schema.EnvironmentForm, header_node, root, problems)
    valid = header is not None
    if header is None:
        # stand-ins, so that the rest is examined too; the refusal comes at the end all the same
        header = schema.EnvironmentForm.model_construct(environment="environment", trust_domain="trust-domain.example")
    result = Declaration(root, header, valid)
    broken = result.broken
    result.sites = _mapping(root, "sites", schema.SiteForm, broken, problems)
    result.hosts = _mapping(root, "hosts", schema.HostForm, broken, problems)
    result.groups = _mapping(root, "groups", schema.GroupForm, broken, problems)
    result.services = _mapping(root, "services", schema.ServiceForm, broken, problems)
    result.floating = _mapping(root, "floating", schema.FloatingForm, broken, problems)
    result.flows = _sequence(root, "flows", schema.FlowForm, problems)
    result.published = _sequence(root, "published", schema.PublishedForm, problems)
    return result


def _mapping(
    root: Mapping, section: str, model: type[F], broken: dict[str, set[str]], problems: Problems
) -> dict[str, Entry[F]]:
    refused = broken.setdefault(section, set())
    entries: dict[str, Entry[F]] = {}
    node = _section(root, section, Mapping, problems)
    if node is None:
        return entries
    assert isinstance(node, Mapping)
    for name, (key, item) in node.entries.items():
        named = _named(key, problems)
        result = form(model, item, key, problems)
        if result is None or not named:
            refused.add(name)
        else:
            entries[name] = Entry(name, key, item, result)
    return entries


def _sequence(root: Mapping, section: str, model: type[F], problems: Problems) -> list[Entry[F]]:
    node = _section(root, section, Sequence, problems)
    if node is None:
        return []
    assert isinstance(node, Sequence)
    forms = ((item, form(model, item, item, problems)) for item in node.items)
    return [Entry("", item, item, result) for item, result in forms if result is not None]


def _section(root: Mapping, section: str, wanted: type[Node], problems: Problems) -> Node | None:
    if section not in root.entries:
        return None
    _, node = root.entries[section]
    if isinstance(node, wanted):
        return node
    if not (isinstance(node, Scalar) and scalar_value(node) is None):  # a section may be empty
        shape, hint = ("a mapping", "NAME: {...}") if wanted is Mapping else ("a list", "- {...}")
        problems.add("wrong-form", node, f"{shown(section)} is {shape}", f"write entries like '{hint}' below it")
    return None


def _named(key: Scalar, problems: Problems) -> bool:
    try:
        _NAMED.validate_python(key.text)
    except ValidationError as error:
        context = error.errors()[0]["ctx"]
        problems.add(context["code"], key, context["message"], context["hint"])
        return False
    return True


def form(model: type[F], node: Node, key: Node, problems: Problems) -> F | None:
    """Validate one node; None when it is refused, with the reasons at their places among the ``problems``."""
    try:
        return model.model_validate(value(node))
    except TooManyItemsError as error:
        message = f"more than {limits.ITEMS:,} items in one list or mapping"
        problems.add("too-many-items", error.node, message, "groups by label, ranges and counts are shorter")
        return None
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _explain(model, node, key, detail, problems)
        return None


def _explain(model: type[BaseModel], node: Node, key: Node, detail: ErrorDetails, problems: Problems) -> None:
    path = detail["loc"]
    kind = detail["type"]
    here = place_at(node, path, key=kind == "extra_forbidden" or path[-1:] == ("[key]",)) or node.place
    given = detail["input"]
    context: dict[str, Any] = detail.get("ctx") or {}
    if kind == "ringfort":
        problems.add(context["code"], here, context["message"], context["hint"])
    elif kind == "missing":
        parent = place_at(node, path[:-1], key=True) or key.place
        problems.add("missing-key", parent, f"{shown(path[-1])} is missing", _description(model, path))
    elif kind == "extra_forbidden":
        known = list(_fields(model, path[:-1]))
        hint = problems.nearest(str(path[-1]), known, f"known here: {', '.join(known)}")
        problems.add("unknown-key", here, f"{shown(path[-1])} is not a key that is known here", hint)
    elif kind == "enum":
        _explain_word(model, path, given, here, problems)
    elif kind in ("too_short", "too_long"):
        low, high = context.get("min_length"), context.get("max_length")
        message = f"at least {low} needed" if kind == "too_short" else f"at most {high} allowed"
        problems.add("wrong-number", here, f"{shown(path[-1])} has {context['actual_length']} entries: {message}")
    else:
        problems.add("wrong-form", here, *_wrong_form(kind, given))


def _explain_word(
    model: type[BaseModel], path: tuple[int | str, ...], given: object, here: Place, problems: Problems
) -> None:
    words = _words(model, path)
    if isinstance(given, Ambiguous) or given is None:
        text = given.text if isinstance(given, Ambiguous) else "nothing"
    else:
        text = given if isinstance(given, str) else "this"
    message = f"{shown(text)} is none of {', '.join(words)}"
    problems.add("unknown-word", here, message, problems.nearest(text, words))


def _wrong_form(kind: str, given: object) -> tuple[str, str]:
    wanted = {"list_type": "a list", "dict_type": "a mapping", "model_type": "a mapping"}.get(kind, "another form")
    hint = {"a list": "write [VALUE, ...]", "a mapping": "write {KEY: VALUE, ...}"}.get(wanted, "")
    if given is None:
        return f"nothing is written where {wanted} is wanted", hint
    if isinstance(given, list):
        return f"a list stands where {wanted} is wanted", hint
    if isinstance(given, dict):
        return f"a mapping stands where {wanted} is wanted", hint
    return f"{shown(given.text if isinstance(given, Ambiguous) else given)} stands where {wanted} is wanted", hint


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (list, dict, Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _models(inner)


def _fields(model: type[BaseModel], path: tuple[int | str, ...]) -> dict[str, tuple[Any, str]]:
    """Alias -> (type, description) of the form that a path leads to."""
    fields = {f.alias or name: (f.annotation, f.description or "") for name, f in model.model_fields.items()}
    for position, step in enumerate(path):
        if step in fields:
            inner = next(_models(fields[str(step)][0]), None)
            return _fields(inner, path[position + 1 :]) if inner else {}
    return fields


def _description(model: type[BaseModel], path: tuple[int | str, ...]) -> str:
    _, description = _fields(model, path[:-1]).get(str(path[-1]), (None, ""))
    return f"{path[-1]}: {' '.join(description.split())}" if description else ""


def _words(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    annotation, _ = _fields(model, path[:-1]).get(str(path[-1]), (None, ""))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return [str(word) for word in annotation]
    return []
