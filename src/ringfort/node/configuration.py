"""A node's configuration file (TOML): who it is, where its controllers are, and where its devices are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from ringfort.environment.model import Address
from ringfort.environment.topology import Device, DeviceKind
from ringfort.errors import RingfortError
from ringfort.gateway.process import PROGRAM
from ringfort.identity.errors import IdentityError
from ringfort.identity.names import parse
from ringfort.node.machine import CONFIRM_SECONDS

DEFAULT = Path("/etc/ringfort/node.toml")
STATE = Path("/var/lib/ringfort/node")
RUNTIME = Path("/run/ringfort/node")
DEFAULT_PORT = 9440
REFRESH_SECONDS = 60.0

_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an operator says once about a machine; everything else comes from the signed environment.

    Attributes:
        name: of the machine, and so of the node: ``spiffe://TRUST-DOMAIN/node/NAME``.
        trust_domain: of the environment.
        controllers: address and port of each, in the order in which to try them.
        state: the state directory.
        devices: where the machine's devices are: a named network namespace, or "" for the node's own.
        tolerated: tables (family, name) of others that may hook into the path of packets.
        sysctl: whether kernel settings are set, too.
        enforcement_point: the program that checks the callers of services under TLS, HAProxy; "": somebody else does.
        runtime: where enforcement points keep what need not outlive the machine, a directory for each host; its name is
            short, because the path of a socket has at most 107 bytes (unix(7)).
        certificates: identity of a service on this machine -> the file where its key and certificate are kept, for who
            calls others under that name, or checks callers for itself.
        hosting: place of this machine's hypervisors -> the named network namespace that has its addresses, and behind
            which instances run.
        refresh_seconds: how often to ask for a fresh timestamp when there is no news.
        confirm_seconds: how long rules may be on trial before a controller has to have been reached.
    """

    name: str
    trust_domain: str
    controllers: tuple[tuple[Address, int], ...]
    state: Path = STATE
    devices: Mapping[str, str] | None = None
    tolerated: frozenset[tuple[str, str]] = frozenset()
    sysctl: bool = True
    enforcement_point: str = PROGRAM
    runtime: Path = RUNTIME
    certificates: Mapping[str, Path] = field(default_factory=dict)
    hosting: Mapping[str, str] = field(default_factory=dict)
    refresh_seconds: float = REFRESH_SECONDS
    confirm_seconds: float = CONFIRM_SECONDS

    @property
    def places(self) -> Mapping[str, str]:
        """Device (in words) -> namespace; without a list the machine is one host, in the node's own namespace."""
        return self.devices if self.devices is not None else {f"{DeviceKind.HOST}:{self.name}": ""}

    @property
    def known_devices(self) -> tuple[Device, ...]:
        """The devices that the configuration names."""
        return tuple(device(words) for words in self.places)


def device(words: str) -> Device:
    """The device called ``KIND:NAME``.

    Raises:
        RingfortError: there is no such kind.
    """
    kind, _, name = words.partition(":")
    if not name or kind not in {str(known) for known in DeviceKind}:
        hint = "write host:NAME, router:NAME, switch:KEY or sandbox:NAME"
        raise RingfortError("configuration", f"{words!r} is no device", hint)
    return Device(DeviceKind(kind), name)


def read(path: Path) -> Configuration:
    """The configuration in a file.

    Raises:
        RingfortError: it cannot be read, or says something that it may not.
    """
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise RingfortError("configuration", f"{path}: {error.strerror}", "see docs/node.md for an example") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RingfortError("configuration", f"{path}: {error}") from error
    try:
        return from_document(document)
    except RingfortError as error:
        raise RingfortError(error.code, f"{path}: {error.message}", error.hint) from error


def from_document(document: dict[str, Any]) -> Configuration:
    """The configuration that a TOML document holds.

    Raises:
        RingfortError: a key is missing, unknown, or of another kind.
    """
    left = dict(document)
    tolerated = _take(left, "tolerated-tables", list, [])
    devices = _take(left, "devices", dict, None)
    refresh = float(_take(left, "refresh-seconds", (int, float), REFRESH_SECONDS))
    confirm = float(_take(left, "confirm-seconds", (int, float), CONFIRM_SECONDS))
    configuration = Configuration(
        _required(_take(left, "name", str, ""), "name"),
        _required(_take(left, "trust-domain", str, ""), "trust-domain"),
        tuple(_controller(text) for text in _required(_take(left, "controllers", list, []), "controllers")),
        Path(_take(left, "state", str, str(STATE))),
        {str(device(words)): _text(place, f"devices.{words}") for words, place in devices.items()} if devices else None,
        frozenset(_table(text) for text in tolerated),
        _take(left, "sysctl", bool, True),
        _take(left, "enforcement-point", str, PROGRAM),
        Path(_take(left, "runtime", str, str(RUNTIME))),
        {_identity(name): Path(_file(file, name)) for name, file in _take(left, "certificates", dict, {}).items()},
        {name: _named(place, f"places.{name}") for name, place in _take(left, "places", dict, {}).items()},
        refresh,
        confirm,
    )
    if left:
        raise RingfortError("configuration", f"unknown key {min(left)!r}", "see docs/node.md for the keys")
    if configuration.enforcement_point:
        _check_paths(configuration)
    if refresh <= 0 or not 0 < confirm <= CONFIRM_SECONDS:
        message = f"refresh-seconds has to be more than 0, confirm-seconds at most {CONFIRM_SECONDS:g}"
        raise RingfortError("configuration", message)
    return configuration


def _check_paths(configuration: Configuration) -> None:
    for path in (configuration.state, configuration.runtime):
        if not path.is_absolute() or not _PLAIN.fullmatch(str(path)):
            message = f"{str(path)!r} cannot stand in HAProxy's configuration"
            raise RingfortError("configuration", message, "take an absolute path of letters, digits, '-', '_' and '.'")


def _take(document: dict[str, Any], key: str, kind: type | tuple[type, ...], default: object) -> Any:  # noqa: ANN401
    value = document.pop(key, default)
    if value is not default and not isinstance(value, kind):
        raise RingfortError("configuration", f"{key} is of another kind: {value!r}")
    return value


def _required(value: _T, key: str) -> _T:
    if not value:
        raise RingfortError("configuration", f"{key} is missing")
    return value


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or "/" in value:
        raise RingfortError("configuration", f"{key} is no name of a network namespace: {value!r}")
    return value


def _named(value: object, key: str) -> str:
    name = _text(value, key)
    if not name:
        raise RingfortError("configuration", f"{key}: an instance never runs in the node's own network namespace")
    return name


def _identity(text: str) -> str:
    try:
        return parse(text).uri
    except IdentityError as error:
        raise RingfortError(
            "configuration", f"certificates: {error.message}", "write spiffe://DOMAIN/ROLE/NAME"
        ) from error


def _file(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise RingfortError("configuration", f"certificates.{key} is no absolute path: {value!r}")
    return value


def _table(text: object) -> tuple[str, str]:
    words = text.split() if isinstance(text, str) else []
    if len(words) != 2:
        raise RingfortError("configuration", f"{text!r} is no table", "write its family and its name: 'inet other'")
    return words[0], words[1]


def _controller(text: object) -> tuple[Address, int]:
    """``ADDRESS``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``. Addresses, because a name would have to be asked for."""
    if isinstance(text, str):
        address, port = text, ""
        if text.startswith("["):
            address, _, port = text[1:].partition("]")
            port = port.removeprefix(":")
        elif text.count(":") == 1:
            address, _, port = text.partition(":")
        try:
            number = int(port) if port else DEFAULT_PORT
            if 0 < number < 65536:
                return ip_address(address), number
        except ValueError:
            pass
    raise RingfortError("configuration", f"{text!r} is no controller", "write its address and port: 10.1.2.3:9440")
