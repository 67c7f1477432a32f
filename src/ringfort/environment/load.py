"""Loading: files in, one consistent `Environment` out, or every reason why not."""

from __future__ import annotations

from pathlib import Path

from ringfort.environment import limits
from ringfort.environment.checks import check
from ringfort.environment.draft import Draft
from ringfort.environment.files import DirectoryFiles, Files, MemoryFiles, PortableFiles, main_file
from ringfort.environment.forms import Declaration, declaration
from ringfort.environment.including import read_all
from ringfort.environment.model import Backbone, ConnectionLimit, Environment, ScanDetection
from ringfort.environment.problems import Problems
from ringfort.environment.resolve_control import resolve_control
from ringfort.environment.resolve_floating import resolve_floating
from ringfort.environment.resolve_flows import resolve_flows, resolve_published
from ringfort.environment.resolve_gateway import resolve_gateway
from ringfort.environment.resolve_hosts import resolve_hosts
from ringfort.environment.resolve_instances import resolve_instances
from ringfort.environment.resolve_services import resolve_groups, resolve_services
from ringfort.environment.resolve_sites import resolve_sites
from ringfort.environment.special import bogons
from ringfort.errors import DeclarationError

FILE_NAME = "environment.yaml"
"""The main file of an environment that is named by its directory."""


def load(path: Path | str) -> Environment:
    """Load an environment from its main file, or from the ``environment.yaml`` in a directory.

    Raises:
        DeclarationError: with every problem found, in the order of the files.
    """
    main = main_file(Path(path), FILE_NAME)
    return load_files(DirectoryFiles(main, limits.TOTAL_BYTES), main.name)


def load_portable(path: Path | str) -> Environment:
    """As `load`, but places are told from the declaration's own directory: it is equal wherever the directory lies.

    Raises:
        DeclarationError: as `load`, with places as `load` tells them.
    """
    main = main_file(Path(path), FILE_NAME)
    try:
        return load_files(PortableFiles(main, limits.TOTAL_BYTES), main.name)
    except DeclarationError:
        load(path)
        raise


def load_text(text: str | bytes, **included: str | bytes) -> Environment:
    """Load an environment from the text of its main file; ``included`` files are called ``NAME.yaml``.

    Raises:
        DeclarationError: as `load`.
    """
    contents = {FILE_NAME: text, **{f"{name}.yaml": content for name, content in included.items()}}
    encoded = {name: c.encode("utf-8", "surrogatepass") if isinstance(c, str) else c for name, c in contents.items()}
    return load_files(MemoryFiles(encoded), FILE_NAME)


def load_files(files: Files, main: str) -> Environment:
    """Load an environment from any kind of files.

    Raises:
        DeclarationError: as `load`.
    """
    problems = Problems()
    root, readable = read_all(files, main, problems)
    if not readable:  # half of a declaration would be full of names that seem unknown
        problems.raise_if_any()
    declared = declaration(root, problems)
    draft = Draft(declared, problems)
    resolve_sites(draft)
    resolve_hosts(draft)
    resolve_instances(draft)
    resolve_services(draft)
    resolve_groups(draft)
    resolve_flows(draft)
    resolve_floating(draft)
    resolve_published(draft)
    resolve_control(draft)
    resolve_gateway(draft)
    check(draft)
    problems.raise_if_any()
    return _environment(declared, draft)


def _environment(declared: Declaration, draft: Draft) -> Environment:
    header = declared.header
    backbone = None
    if header.backbone is not None:
        backbone = Backbone(tuple(header.backbone.networks), declared.at("backbone").origin)
    scan, limit = header.scan_detection, header.connection_limit
    return Environment(
        header.environment,
        header.trust_domain,
        draft.sites,
        draft.providers,
        draft.routers,
        draft.segments,
        draft.hosts,
        draft.services,
        draft.flows,
        tuple(published for published, _ in draft.published),
        backbone,
        bogons(header.internet.bogons_except),
        ScanDetection(scan.attempts, scan.seconds, scan.refuse_seconds),
        ConnectionLimit(limit.per_source),
        draft.control,
        draft.gateway,
        draft.floating,
    )
