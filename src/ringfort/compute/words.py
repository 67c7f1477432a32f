"""The smallest pieces of ``app.yaml`` beyond those of an environment: paths, arguments, settings, public names."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, TypeVar

from pydantic import PlainValidator, WithJsonSchema

from ringfort.environment.nodes import Ambiguous
from ringfort.environment.problems import shown
from ringfort.environment.words import refuse, text

E = TypeVar("E", bound=StrEnum)

LONGEST_PATH = 1024
LONGEST_SETTING = 32 * 1024
"""Characters of a configuration value or secret; a certificate chain fits."""

SETTING_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
RESERVED = "RINGFORT_"
"""What names of the platform's own settings begin with."""

_HOST_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def parse_flag(value: object) -> bool:
    """``true`` or ``false``, and none of YAML's other words for them."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, Ambiguous) or value.text not in ("true", "false"):
        given = value.text if isinstance(value, Ambiguous) else value
        refuse("not-a-flag", f"{shown(given)} is neither true nor false", "write true or false, without quotes")
    return value.text == "true"


def parse_relative_path(value: object) -> str:
    """A path below the application's folder: no ``..``, nothing absolute, written in one way only."""
    path = text(value, "a path")
    parts = path.split("/")
    hint = "write it from the application's folder, like public/pages"
    if len(path) > LONGEST_PATH or not path.isprintable():
        refuse("not-a-path", f"{shown(path)} is too long or has control characters", hint)
    if path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        refuse("not-a-path", f"{shown(path)} does not lead plainly down from the application's folder", hint)
    return path


def parse_absolute_path(value: object) -> str:
    """An absolute path, without ``..``, written in one way only."""
    path = text(value, "a path")
    if not path.startswith("/") or str(PurePosixPath(path)) != path or ".." in path.split("/") or path.startswith("//"):
        refuse("not-a-path", f"{shown(path)} is not a plain absolute path", "write it like /data")
    if len(path) > LONGEST_PATH or not path.isprintable():
        refuse("not-a-path", f"{shown(path)} is too long or has control characters", "")
    return path


def parse_url_path(value: object) -> str:
    """The path that a health check asks for."""
    path = text(value, "a path")
    if not re.fullmatch(r"/[!-~]{0,500}", path):
        refuse("not-a-path", f"{shown(path)} is not the path of a URL", "write it like /health")
    return path


def parse_argument(value: object) -> str:
    """One word of a command: text without control characters, or a number."""
    word = str(value) if type(value) is int else text(value)
    if not word or len(word) > 4096 or not word.isprintable():
        refuse("not-an-argument", f"{shown(word)} is empty, too long, or has control characters", "")
    return word


def parse_module(value: object) -> str:
    """A Python module by its dotted name, or the path of a WebAssembly file; which of them, `soundness` says."""
    module = text(value, "a module")
    return module if _MODULE.fullmatch(module) else parse_relative_path(module)


def is_dotted(module: str) -> bool:
    """Whether a module is named as Python names them."""
    return _MODULE.fullmatch(module) is not None


def parse_setting_name(value: object) -> str:
    """The name of a configuration value or secret: that of an environment variable (POSIX.1-2017, 8.1)."""
    name = text(value, "a name")
    if not re.fullmatch(SETTING_NAME, name):
        better = re.sub(r"[^A-Za-z0-9_]", "_", name)[:100]
        hint = f"write '{better}'" if re.fullmatch(SETTING_NAME, better) else "for example 'GREETING'"
        refuse("not-a-setting", f"{shown(name)} is no name for a setting: letters, digits, underscores", hint)
    if name.startswith(RESERVED):
        refuse("setting-reserved", f"{shown(name)}: names that begin with {RESERVED} are the platform's own", "")
    return name


def parse_setting(value: object) -> str:
    """A configuration value: text, or a number, which is the text of its digits."""
    setting = str(value) if type(value) is int else text(value)
    if len(setting) > LONGEST_SETTING or "\0" in setting:
        refuse("not-a-value", f"the value has a zero byte, or more than {LONGEST_SETTING:,} characters", "")
    return setting


def parse_public_name(value: object) -> str:
    """A DNS name as browsers write it (RFC 1123, 2.1): lower case, at least two labels, no wildcard."""
    name = text(value, "a DNS name")
    if not _HOST_NAME.fullmatch(name):
        hint = "a name for each endpoint; wildcards are not taken" if "*" in name else "write it like 'shop.example'"
        refuse("not-a-public-name", f"{shown(name)} is not a name on the internet", hint)
    return name


def word_of(enum: type[E]) -> Callable[[object], E]:
    """A parser of one of some words, among which may be ``off``, that YAML 1.1 takes for a truth value."""

    def parse(value: object) -> E:
        written = value.text if isinstance(value, Ambiguous) and value.text == "off" else value
        if not isinstance(written, str) or written not in list(enum):
            given = written.text if isinstance(written, Ambiguous) else written
            refuse("unknown-word", f"{shown(given)} is none of {', '.join(enum)}", "")
        return enum(written)

    return parse


def _string(description: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, **more})


_VALUE = {"anyOf": [{"type": "string", "maxLength": LONGEST_SETTING}, {"type": "integer"}]}

Flag = Annotated[bool, PlainValidator(parse_flag), WithJsonSchema({"type": "boolean"})]
RelativePath = Annotated[str, PlainValidator(parse_relative_path), _string("A path below the application's folder")]
AbsolutePath = Annotated[str, PlainValidator(parse_absolute_path), _string("An absolute path", pattern="^/")]
UrlPath = Annotated[str, PlainValidator(parse_url_path), _string("The path of a URL", pattern="^/")]
Argument = Annotated[str, PlainValidator(parse_argument), WithJsonSchema({"description": "A word", **_VALUE})]
Module = Annotated[str, PlainValidator(parse_module), _string("A module", examples=["shop", "shop.wasm"])]
SettingName = Annotated[
    str, PlainValidator(parse_setting_name), _string("The name of a setting", pattern=f"^{SETTING_NAME}$")
]
SettingValue = Annotated[str, PlainValidator(parse_setting), WithJsonSchema({"description": "A value", **_VALUE})]
PublicName = Annotated[str, PlainValidator(parse_public_name), _string("A DNS name", examples=["shop.example"])]
