"""The controller's configuration file (TOML)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ringfort.control.errors import ControlError

LARGEST = 1024 * 1024
RoleName = Literal["network-operator", "security-officer", "auditor", "site-staff"]
Endpoint = Annotated[str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:]+\]|[0-9.]+):[0-9]{1,5}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listening(_Section):
    """Where callers come in."""

    platform: list[Endpoint] = Field(min_length=1, description="For certificates of the platform's own authority.")
    customers: list[Endpoint] = Field(default=[], description="For certificates that customers registered.")
    door: list[Endpoint] = Field(
        default=[], description="The same, for what the customers' door hands on; on loopback."
    )


class Operator(_Section):
    """What a person may act as."""

    roles: list[RoleName] = Field(min_length=1)
    sites: list[str] = Field(default=[], description="Of site staff: where they may put machines in.")


class Witness(_Section):
    """Who cosigns the audit log's checkpoints."""

    url: str
    key: str = Field(description="Its verifier key, as `ringfort witness` prints it.")


class Audit(_Section):
    """The audit log."""

    directory: Path
    key: Path = Field(description="The log's signing key: a file of one line.")
    witnesses: list[Witness] = Field(min_length=1)
    needed: int = Field(default=1, ge=1, description="How many of them have to cosign.")


class Settings(_Section):
    """Everything a controller is told."""

    database: str = Field(description="sqlite:////PATH, or postgresql://USER@HOST/NAME.")
    credential: Path = Field(description="The controller's own key and certificates, PEM; renewed in place.")
    authority: Path = Field(description="Directory with the issuing authorities and the trust bundle.")
    online_key: Path | None = Field(default=None, description="The repository's online key.")
    approvers_root: Path | None = Field(default=None, description="The approvers' first root, as nodes pin it.")
    data_key: Path | None = Field(default=None, description="The key that wraps customers' keys: 32 bytes.")
    former_data_key: Path | None = Field(default=None, description="The one before, while some are wrapped by it.")
    public_authority: Path | None = Field(default=None, description="Directory with the issuer for public names.")
    listen: Listening
    operators: dict[str, Operator] = Field(default={})
    audit: Audit | None = None


def read_settings(path: Path) -> Settings:
    """The configuration in a file. Relative paths in it start at its directory.

    Raises:
        ControlError: it can't be read, or says what is not understood.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise ControlError("settings-unreadable", f"{path} can't be read: {error.strerror}") from error
    if len(text) > LARGEST:
        raise ControlError("settings-unreadable", f"{path} has more than {LARGEST} bytes")
    try:
        settings = Settings.model_validate(tomllib.loads(text.decode()))
    except (ValueError, RecursionError) as error:
        raise ControlError("settings-invalid", f"{path}: {_words(error)}", "see docs/controller.md") from error
    return _rooted(settings, path.resolve().parent)


def endpoint(text: str) -> tuple[str, int]:
    """Host and port of ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _words(error: ValueError | RecursionError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)[:5]
        )
    return str(error)


def _rooted(settings: Settings, base: Path) -> Settings:
    audit = settings.audit
    if audit is not None:
        audit = audit.model_copy(update={"directory": base / audit.directory, "key": base / audit.key})
    return settings.model_copy(
        update={
            "credential": base / settings.credential,
            "authority": base / settings.authority,
            "online_key": None if settings.online_key is None else base / settings.online_key,
            "approvers_root": None if settings.approvers_root is None else base / settings.approvers_root,
            "data_key": None if settings.data_key is None else base / settings.data_key,
            "former_data_key": None if settings.former_data_key is None else base / settings.former_data_key,
            "public_authority": None if settings.public_authority is None else base / settings.public_authority,
            "audit": audit,
        }
    )
