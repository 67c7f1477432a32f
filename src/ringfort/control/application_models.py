"""What customers send and get about what they run, nodes about what runs on them, and operators about either."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from ringfort.compute.words import LONGEST_SETTING, SETTING_NAME
from ringfort.control.models import Answer, Count, Digest, Form, Name

Setting = Annotated[str, StringConstraints(pattern=rf"^{SETTING_NAME}$")]
Value = Annotated[str, StringConstraints(max_length=LONGEST_SETTING, pattern=r"^[^\x00]*$")]
UploadName = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
InstanceName = Annotated[str, StringConstraints(pattern=r"^i-[0-9a-f]{12}$")]

MOST_LINES = 500
LONGEST_LINE = 4000


class CertificateOwner(Answer):
    """Whose certificate it is."""

    customer: str


# -- uploads ---------------------------------------------------------------------------------------------------------


class UploadForm(Form):
    """Software that is about to be sent."""

    digest: Digest = Field(description="SHA-256 of all of it.")
    size: int = Field(ge=1, le=2**40, description="Bytes.")


class Upload(Answer):
    """Software on its way in."""

    upload: str
    digest: str
    size: int
    received: int = Field(description="Bytes that are here; the next part begins there.")
    part: int = Field(description="Bytes that a part may have.")


# -- the platform's key ----------------------------------------------------------------------------------------------


class DataKey(Answer):
    """The keys that wrap customers' keys, by names that tell nothing about them."""

    key: str = Field(description="The one in use at this controller; empty if it holds none.")
    former: str = Field(description="The one before that it still holds; or empty.")
    wraps: dict[str, int] = Field(description="How many customers' keys each wraps.")


# -- applications ----------------------------------------------------------------------------------------------------


class DeploymentForm(Form):
    """A new version of an application."""

    upload: UploadName = Field(description="The software, sent whole.")


class RollbackForm(Form):
    """Back to an earlier version."""

    to: int | None = Field(default=None, ge=1, le=2**53 - 1, description="Its number; by default the one before.")


class ScaleForm(Form):
    """How many instances."""

    count: int = Field(ge=1, le=100)


class SettingsForm(Form):
    """Values to set, and names to forget: all of it, or nothing."""

    set: dict[Setting, Value] = Field(default={}, max_length=500)
    unset: list[Setting] = Field(default=[], max_length=500)


class Deployment(Answer):
    """One version of an application."""

    number: int
    digest: str
    origin: int = Field(description="The deployment that it went back to; 0 for software that was sent.")
    created: AwareDatetime


class Deployments(Answer):
    """Versions of an application that are kept, newest first."""

    deployments: list[Deployment]


class RunningInstance(Answer):
    """One instance of an application."""

    instance: str
    ordinal: int
    deployment: int
    state: Literal["waiting", "lost", "starting", "running", "unhealthy", "stopping", "stopped", "failed"] = Field(
        description="``waiting`` for a place; ``lost`` with its node, which gives no sign of life."
    )
    held: bool = Field(description="Whether the platform's people stopped it.")
    place: str = Field(description="The host of the environment where it is; empty before it has a place.")
    node: str = Field(description="The node that runs it; empty before it has a place.")
    reason: str = Field(description="Why it waits, in words; empty if it doesn't.")


class Application(Answer):
    """What a customer wants to run, and what does."""

    name: str
    state: Literal["running", "stopped"]
    deployment: int = Field(description="0 before the first.")
    digest: str = Field(description="SHA-256 of its software; empty before the first deployment.")
    count: int
    settings: int = Field(description="Grows with each change of configuration or secrets.")
    changed: AwareDatetime
    public_names: list[str]
    instances: list[RunningInstance]


class Applications(Answer):
    """All applications of a customer."""

    applications: list[Application]


class ConfigurationValue(Answer):
    """One value of an application's configuration."""

    name: str
    value: str
    origin: Literal["app.yaml", "set"]


class Configuration(Answer):
    """An application's configuration as its instances find it."""

    settings: int
    values: list[ConfigurationValue]


class Secret(Answer):
    """A secret, without its value, which is never shown."""

    name: str
    needed: bool = Field(description="Whether app.yaml asks for it.")
    changed: AwareDatetime | None = Field(description="When it was set; null while it isn't.")


class Secrets(Answer):
    """An application's secrets."""

    settings: int
    secrets: list[Secret]


class SettingsChanged(Answer):
    """What came of a change of settings: never values, because answers are kept for a day."""

    settings: int
    set: list[str]
    unset: list[str]


class LogQuery(Form):
    """Which lines."""

    start: int = Field(default=0, ge=0, alias="from")
    limit: int = Field(default=200, ge=1, le=1000, description="Pieces, each of some lines.")
    last: int = Field(default=0, ge=0, le=1000, description="Only the last so many pieces, if nothing is said of from.")
    wait: bool = Field(default=False, description="Wait up to 25 s for a line if there is none.")


class LogLine(Answer):
    """A line that an instance wrote."""

    instance: str
    at: AwareDatetime
    text: str


class LogLines(Answer):
    """Lines, oldest first."""

    lines: list[LogLine]
    next: int = Field(description="Ask again with ``from`` at this for what comes after.")


# -- instances, as nodes and operators see them ----------------------------------------------------------------------


class Instance(Answer):
    """An instance, and nothing of what is in it."""

    instance: str
    customer: str
    application: str
    ordinal: int
    deployment: int
    state: Literal["running", "stopped"] = Field(description="As the customer wants it.")
    held: bool = Field(description="Whether an operator stopped it.")
    place: str = Field(description="The host of the environment where it is; empty before it has a place.")
    node: str = Field(description="Empty before it has a place.")
    reason: str = Field(description="Why it waits for a place, in words; empty if it doesn't.")
    reported: str = Field(description="What its node says: its state; empty before the first word.")


class Instances(Answer):
    """All instances."""

    instances: list[Instance]


class MoveForm(Form):
    """Where an instance should go."""

    node: Name | None = Field(default=None, description="To any other node by default.")


class WantedInstance(Answer):
    """What a node should run."""

    instance: str
    place: str = Field(description="The host of the environment that it is: its addresses, its sandbox.")
    customer: str
    application: str
    ordinal: int
    deployment: int
    settings: int
    state: Literal["running", "stopped"]
    digest: str = Field(description="SHA-256 of its software.")
    size: int = Field(description="Bytes of its software.")
    description: dict[str, Any] = Field(description="What app.yaml says, by its keys.")


class WantedInstances(Answer):
    """All that a node should run; what isn't here should not be there."""

    revision: str = Field(description="Another one if anything is different.")
    instances: list[WantedInstance]


class WantedQuery(Form):
    """What the node knows already."""

    known: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = Field(
        default="", description="Wait up to 25 s for another revision while this is it."
    )


class InstanceSettings(Answer):
    """What an instance finds when it starts: for its node's memory, and for no disk that isn't encrypted."""

    settings: int
    configuration: dict[str, str]
    secrets: dict[str, str]
    disk_key: str = Field(description="For its disk and snapshots: 32 bytes, hex; gone with the customer's key.")


class NodeInstance(Form):
    """How an instance is."""

    instance: InstanceName
    deployment: Count
    settings: Count
    state: Literal["starting", "running", "unhealthy", "stopping", "stopped", "failed"]


class Room(Form):
    """What a node has for instances, all of them together."""

    cpu: Count = Field(description="Per cent of a processor.")
    memory: Count = Field(description="MiB.")
    disk: Count = Field(description="MiB.")


class NodeInstancesForm(Form):
    """How a node's instances are; and that the node lives, which is why it says so even if nothing changed."""

    instances: list[NodeInstance] = Field(max_length=1000)
    room: Room | None = Field(default=None, description="As many instances as there are places, if nothing is said.")


class NodeInstances(Answer):
    """What came of it."""

    known: int = Field(description="How many of them belong to the node.")


class LogForm(Form):
    """Lines that an instance wrote."""

    lines: list[NodeLine] = Field(min_length=1, max_length=MOST_LINES)


class NodeLine(Form):
    """One line."""

    at: AwareDatetime
    text: Annotated[str, StringConstraints(max_length=LONGEST_LINE)]


class Logged(Answer):
    """What came of it."""

    lines: int


LogForm.model_rebuild()
