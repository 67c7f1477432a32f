"""What a customer writes about an application: the form of ``app.yaml``, its JSON Schema, and how it is loaded."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator

from ringfort.compute.words import (
    AbsolutePath,
    Argument,
    Flag,
    Module,
    PublicName,
    RelativePath,
    SettingName,
    SettingValue,
    UrlPath,
    word_of,
)
from ringfort.environment.document import parse
from ringfort.environment.forms import form
from ringfort.environment.nodes import SourceFile
from ringfort.environment.problems import Problems, refusal
from ringfort.environment.reading import Budget
from ringfort.environment.schema import Form, for_editors
from ringfort.environment.words import Name, NetworkWord, Ports, Words, number_schema, whole

FILE_NAME = "app.yaml"
"""The file in an application's folder that says what it is."""

LARGEST = 256 * 1024
MOST_NODES = 20_000
SCHEMA_ID = "urn:ringfort:application"


class Runtime(StrEnum):
    """What starts the application."""

    PYTHON = "python"
    STATIC = "static"
    WASM = "wasm"
    COMMAND = "command"


class EndpointTls(StrEnum):
    """Who ends TLS for a public name, and with whose certificate."""

    OFF = "off"
    PLATFORM = "platform"
    CERTIFICATE = "certificate"
    PASSTHROUGH = "passthrough"


class EgressProtocol(StrEnum):
    """What an application may speak outwards."""

    TCP = "tcp"
    UDP = "udp"


def _between(minimum: int, maximum: int) -> tuple[PlainValidator, Any]:
    return PlainValidator(whole(minimum, maximum)), number_schema(minimum, maximum)


PortWord = Annotated[Ports, PlainSerializer(str, return_type=str)]
TlsWord = Annotated[
    EndpointTls,
    PlainValidator(word_of(EndpointTls), json_schema_input_type=EndpointTls),
    PlainSerializer(str, return_type=str),
]

_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""What may not stand in YAML as it is (YAML 1.2, 5.1), or would be folded there."""


class Instances(Form):
    """How many of it run."""

    count: Annotated[int, *_between(1, 100)] = 1
    """How many instances."""
    minimum_healthy: Annotated[int, *_between(0, 100)] | None = None
    """How many stay healthy while it is updated; all but one by default."""

    @property
    def floor(self) -> int:
        """How many have to stay healthy while it is updated."""
        return self.count - 1 if self.minimum_healthy is None else self.minimum_healthy


class Resources(Form):
    """What each instance may use; a sandbox of its own is made of exactly this."""

    cpu: Annotated[int, *_between(5, 1600)] = 100
    """Per cent of one processor."""
    memory: Annotated[int, *_between(32, 65_536)] = 128
    """MiB."""
    disk: Annotated[int, *_between(0, 1_048_576)] = 64
    """MiB of a disk of its own, for what it writes; 0 for none."""
    bandwidth: Annotated[int, *_between(1, 100_000)] = 100
    """Mbit/s, each way."""
    processes: Annotated[int, *_between(1, 32_768)] = 64
    """Processes and threads."""


class Endpoint(Form):
    """Where the application listens."""

    name: Name
    """The endpoint's name."""
    port: Annotated[int, *_between(1, 65_535)]
    """The TCP port that it listens on in its sandbox."""
    public_name: PublicName = ""
    """The name on the internet under which the gateway leads here; without one nobody outside reaches it."""
    tls: TlsWord = EndpointTls.PLATFORM
    """off; platform (the platform's certificate, ended at the gateway); certificate (the customer's own, ended at the
    gateway); passthrough (ended in the application, whose key nobody else has)."""
    hsts: Flag = False
    """Whether browsers are told to come under TLS only, for a year."""
    challenge_port: Annotated[int, *_between(0, 65_535)] = 0
    """With passthrough: the TCP port that answers ACME's challenges; 0 for none."""


class Health(Form):
    """How it is told whether an instance is well. Without it, it is while its process runs."""

    endpoint: Name = ""
    """The endpoint that is asked; the first one by default."""
    path: UrlPath = ""
    """What is asked for by HTTP, and answered with 200 to 399; without, a connection is enough."""
    interval: Annotated[int, *_between(1, 300)] = 5
    """Seconds between two questions."""
    timeout: Annotated[int, *_between(1, 60)] = 2
    """Seconds until an answer counts as none."""
    healthy_after: Annotated[int, *_between(1, 20)] = 1
    """Good answers in a row until it is healthy."""
    unhealthy_after: Annotated[int, *_between(1, 20)] = 3
    """Bad ones in a row until it is not."""
    start: Annotated[int, *_between(1, 600)] = 60
    """Seconds that it may take to become healthy."""


class Directory(Form):
    """A directory that partial trust grants."""

    at: AbsolutePath
    """Where the module sees it."""
    path: RelativePath = ""
    """A folder of the application, to read from; without, the instance's own disk, to write to as well."""


class PartialTrust(Form):
    """What a WebAssembly module is granted, and nothing else."""

    directories: list[Directory] = Field(default=[], max_length=20)
    """Directories it sees."""
    environment: list[SettingName] = Field(default=[], max_length=500)
    """Configuration values and secrets it sees."""
    clock: Flag = False
    """Whether it may know the time."""
    sockets: list[Name] = Field(default=[], max_length=20)
    """Endpoints it may listen on."""
    fuel: Annotated[int, *_between(1, 10**15)] = 10**10
    """How much it may compute for one request, in wasmtime's units: about one for each instruction."""


class Sandbox(Form):
    """Layers inside the virtual machine, which always is there. Each is on unless it is turned off."""

    account: Flag = True
    """Run under an account without privileges."""
    read_only: Flag = True
    """Everything but the instance's own disk is read-only."""
    landlock: Flag = True
    """Files and ports beyond its own are out of reach (Landlock)."""
    seccomp: Flag = True
    """System calls that applications don't need are refused (seccomp)."""
    partial_trust: PartialTrust | None = None
    """For WebAssembly: what the module is granted."""


class Egress(Form):
    """One thing that the application may call. What isn't listed is refused."""

    to: NetworkWord
    """Where to."""
    ports: list[PortWord] = Field(min_length=1, max_length=100)
    """Ports there."""
    protocol: EgressProtocol = EgressProtocol.TCP
    """tcp or udp."""
    reason: Words = ""
    """Why, for people."""


class Domains(Form):
    """How instances are kept from failing together."""

    fault: Annotated[int, *_between(1, 20)] = 2
    """Over how many fault domains they are spread, where there are that many."""
    update: Annotated[int, *_between(1, 20)] = 2
    """In how many groups they are updated, one after the other."""


class Application(Form):
    """An application: what runs, how many, with what, and what it may reach."""

    application: Name
    """Its name."""
    runtime: Runtime
    """python (a module or a command), static (files), wasm (a WebAssembly module), command."""
    module: Module = ""
    """For python: a module, as after `python3 -m`. For wasm: the path of its file."""
    command: list[Argument] = Field(default=[], min_length=1, max_length=100)
    """For command, and for python instead of a module: the program and its arguments."""
    directory: RelativePath = ""
    """For static: the folder that is served; `public` by default."""
    instances: Instances = Field(default=Instances())
    resources: Resources = Field(default=Resources())
    endpoints: list[Endpoint] = Field(default=[], max_length=20)
    """Where it listens."""
    configuration: dict[SettingName, SettingValue] = Field(default={}, max_length=500)
    """Values that it finds in its environment; `ringfort application config set` puts others in their place."""
    secrets: list[SettingName] = Field(default=[], max_length=100)
    """Names of the secrets it needs; their values are set apart, and never shown again."""
    health: Health | None = None
    sandbox: Sandbox = Field(default=Sandbox())
    egress: list[Egress] = Field(default=[], max_length=200)
    """What it may call; nothing by default."""
    domains: Domains = Field(default=Domains())


def load(source: Path | str | bytes, name: str = FILE_NAME) -> Application:
    """An application from its file, from the ``app.yaml`` in a folder, or from the bytes of one called ``name``.

    Raises:
        DeclarationError: with every problem found, in the order of the file.
    """
    from ringfort.compute.soundness import check  # it knows this module's forms

    content, shown = (source, name) if isinstance(source, bytes) else _read(Path(source))
    if len(content) > LARGEST:
        raise refusal("file-too-large", shown, f"the file has more than {LARGEST:,} bytes", "nothing here is that long")
    problems = Problems()
    place = SourceFile(shown, "", 0)
    root = parse(
        place,
        content,
        Budget(LARGEST, MOST_NODES),
        problems,
        empty_hint="write 'application: NAME' first",
        first_line="application: NAME",
    )
    application = None if root is None else form(Application, root, root, problems)
    if application is not None and root is not None:
        check(application, root, problems)
    problems.raise_if_any()
    assert application is not None
    return application


def to_json(application: Application) -> str:
    """The application as one line of JSON, from which `load` makes an equal one."""
    text = json.dumps(document(application), ensure_ascii=False, separators=(",", ":"))
    return _NOT_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def document(application: Application) -> dict[str, Any]:
    """The application as plain values, by the keys of ``app.yaml``; what is as by default is left out."""
    return application.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``app.yaml``, for editors."""
    found = for_editors(Application.model_json_schema(by_alias=True))
    assert isinstance(found, dict)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **found}


def _read(path: Path) -> tuple[bytes, str]:
    file = path / FILE_NAME if path.is_dir() else path
    try:
        with file.open("rb") as stream:
            return stream.read(LARGEST + 1), str(file)
    except OSError as error:
        hint = f"an application's folder has a file {FILE_NAME}"
        raise refusal("file-unreadable", str(file), f"the file can't be read: {error.strerror}", hint) from error
