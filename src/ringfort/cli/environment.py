"""``ringfort environment``: propose, sign and publish what is to be in force."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringfort.cli.output import FORMAT, notices, results
from ringfort.cli.repositories import Place, in_force, place_options
from ringfort.cli.signing import PASSPHRASE_FILE, named_keys, passphrase, signer
from ringfort.errors import RingfortError

if TYPE_CHECKING:
    from ringfort.environment.model import Environment
    from ringfort.publishing.pending import Pending
    from ringfort.publishing.proposal import Meaning
    from ringfort.publishing.repository import Published, Repository

ALL_RULES = click.option("--all-rules", is_flag=True, help="Show every rule that changes, however many there are.")


@click.group(
    epilog="""\b
Examples:
  ringfort environment key alice.key
  ringfort environment init -r repo --approver alice=alice.key.pub --approver bob=bob.key.pub \\
      --approver carol=carol.key.pub --online online.key.pub
  ringfort environment propose examples/shop -r repo --message "first version"
  ringfort environment sign examples/shop -r repo --key alice.key
  ringfort environment publish -r repo --online-key online.key
  ringfort environment log -r repo
"""
)
def command() -> None:
    """Propose, sign, publish: the environment in force is what enough approvers have signed.

    A repository holds the versions (TUF). Approvers propose one, see what it means, and sign; two of three have to. The
    controller publishes it with its online key, which can sign nothing but that it is current. Nodes check all of it.
    """


@command.command(
    epilog="""\b
Examples:
  ringfort environment key alice.key
  ringfort environment key online.key --kind p-256 --clear
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(["ed25519", "p-256"]), default="ed25519", show_default=True)
@click.option("--clear", is_flag=True, help="Without a passphrase: for the controller's online key.")
@PASSPHRASE_FILE
def key(file: Path, kind: str, clear: bool, passphrase_file: str | None) -> None:
    """Make a key: FILE is for its owner alone, FILE.pub for everybody."""
    from ringfort.publishing.keys import generate, read_public, write_private, write_public

    if clear and passphrase_file:
        raise click.UsageError("--clear means that there is no passphrase")
    public = file.with_name(f"{file.name}.pub")
    secret = None if clear else passphrase(passphrase_file, f"passphrase for {file}", confirm=True)
    new = generate(kind)
    write_private(file, new, secret)
    write_public(public, new)
    click.echo(f"{public}: {read_public(public).keyid}")


@command.command(
    epilog="""\b
Examples:
  ringfort environment init -r repo --approver alice=alice.key.pub --approver bob=bob.key.pub \\
      --approver carol=carol.key.pub --online online.key.pub
"""
)
@place_options
@click.option("--approver", "approvers", multiple=True, metavar="NAME=FILE", help="An approver's public key.")
@click.option("--online", required=True, metavar="FILE", help="The public half of the controller's key.")
@click.option("--threshold", default=2, show_default=True, help="How many approvers have to agree.")
def init(place: Place, approvers: tuple[str, ...], online: str, threshold: int) -> None:
    """Begin a repository: its first root names the approvers and waits for their signatures."""
    from ringfort.publishing.keys import read_public
    from ringfort.publishing.metadata import Holders, first_root

    repository, pending = place.open()
    if _published(repository) is not None:
        raise RingfortError(
            "repository-exists", f"there is a repository: {place.name}", "change its keys with `rotate`"
        )
    pending.propose(root=first_root(Holders(named_keys(approvers), threshold, read_public(Path(online))), _now()))
    _print_waiting(pending, None)


@command.command(
    epilog="""\b
Examples:
  ringfort environment diff examples/shop -r repo
  ringfort environment diff examples/shop -r repo --format json
"""
)
@click.argument("environment", metavar="ENV")
@place_options
@ALL_RULES
@FORMAT
@click.pass_context
def diff(ctx: click.Context, environment: str, place: Place, all_rules: bool, format_: str) -> None:
    """Tell what publishing the declaration ENV would change: flows, rules by device, and whether the proof holds.

    Nothing is proposed. The exit code is 0 when nothing would change, 1 otherwise.
    """
    from ringfort.environment.load import load_portable

    repository, _ = place.open()
    published = repository.published()
    place.remember(repository, published)
    meaning = _meaning(published, load_portable(environment))
    _print_meaning(meaning, published.version + 1, all_rules=all_rules, format_=format_)
    ctx.exit(0 if meaning.same else 1)


@command.command(
    epilog="""\b
Examples:
  ringfort environment propose examples/shop -r repo --message "shop-231: a second web server"
  ringfort environment propose examples/shop -r repo \\
      --accept-exposure no-tls-k3v7q2ma --reason "legacy reader, gone by March"
  ringfort environment propose examples/shop -r repo --renew
"""
)
@click.argument("environment", metavar="ENV")
@place_options
@click.option("--message", default="", metavar="TEXT", help="Why; it is signed along with the version.")
@click.option("--accept-exposure", "ids", multiple=True, metavar="ID", help="Publish although the proof finds this.")
@click.option("--reason", "reasons", multiple=True, metavar="TEXT", help="Why; one for each --accept-exposure.")
@click.option("--renew", is_flag=True, help="Have the version in force signed for another year.")
@ALL_RULES
@FORMAT
def propose(
    environment: str,
    place: Place,
    message: str,
    ids: tuple[str, ...],
    reasons: tuple[str, ...],
    renew: bool,
    all_rules: bool,
    format_: str,
) -> None:
    """Propose the declaration ENV as the next version: show what it means, and let it wait for signatures.

    A version over which the proof does not hold is refused, unless each exposure is accepted by its id, with a reason;
    both are signed along with the version. The exit code is 1 when an exposure is not accepted.
    """
    from ringfort.environment.load import load_portable
    from ringfort.environment.serialise import from_bytes, to_bytes
    from ringfort.publishing.metadata import next_targets, renewed_targets
    from ringfort.publishing.proposal import accept, record, to_custom

    if len(ids) != len(reasons) or len(set(ids)) != len(ids):
        raise click.UsageError("give one --reason for each --accept-exposure, and each exposure once")
    repository, pending = place.open()
    published, now = repository.published(), _now()
    place.remember(repository, published)
    old = published.targets.signed if published.targets else None
    loaded = load_portable(environment)
    text = to_bytes(loaded)
    from_bytes(text)  # what nodes would refuse is not proposed
    if renew or text == published.environment:
        _renew_only(renew, text, published)
        assert old is not None
        _tell_replaced(pending)
        pending.propose(targets=renewed_targets(old, now))
        _print_waiting(pending, published)
        return
    meaning = _meaning(published, loaded)
    _print_meaning(meaning, published.version + 1, all_rules=all_rules, format_=format_)
    accepted = accept(meaning.proof, dict(zip(ids, reasons, strict=True)))
    custom = to_custom(record(loaded.name, message, now, meaning, accepted))
    _tell_replaced(pending)
    pending.propose(targets=next_targets(old, text, custom, now), environment=text)
    _print_waiting(pending, published)


def _renew_only(renew: bool, text: bytes, published: Published) -> None:
    if not renew:
        message = f"this is version {published.version}, which is in force"
        raise RingfortError("nothing-changed", message, "to have it signed for another year, add --renew")
    if text != published.environment:
        message = f"this is not version {published.version}, which is in force"
        raise RingfortError("renewal-other", message, "propose the change without --renew")


@command.command(
    epilog="""\b
Examples:
  ringfort environment sign examples/shop -r repo --key alice.key
  ringfort environment sign -r repo --key bob.key
"""
)
@click.argument("environment", metavar="[ENV]", required=False)
@place_options
@click.option("--key", "file", required=True, metavar="FILE", help="Your private key.")
@PASSPHRASE_FILE
@click.option("--yes", is_flag=True, help="Do not ask again after showing what is signed.")
@ALL_RULES
def sign(
    environment: str | None, place: Place, file: str, passphrase_file: str | None, yes: bool, all_rules: bool
) -> None:
    """Sign what waits, after computing again what it means.

    With ENV, your own copy of the declaration, it is signed only if that is exactly what was proposed. Without, the
    proposal is shown from what lies in the repository. Either way the change, the proof and the accepted exposures are
    computed here and must be those that were proposed.
    """
    from ringfort.cli.reviewing import show

    repository, pending = place.open()
    published = _published(repository)
    if published is not None:
        place.remember(repository, published)
    show(pending, published, environment, _now(), all_rules=all_rules)
    if not yes:
        click.confirm("Sign this?", abort=True, err=True)
    done = pending.sign(signer(file, passphrase_file), published.root.signed if published else None)
    click.echo(f"signed {' and '.join(done)}")
    _print_waiting(pending, published)


@command.command(
    epilog="""\b
Examples:
  ringfort environment publish -r repo --online-key online.key
  ringfort environment publish -r repo --online-key online.key --refresh
  ringfort environment publish -r work --controller 10.10.5.10:9440 --credential alice.pem --bundle bundle.pem
"""
)
@place_options
@click.option("--online-key", "file", metavar="FILE", help="The controller's private key; not with --controller.")
@PASSPHRASE_FILE
@click.option("--refresh", is_flag=True, help="Only say again that the version in force is current.")
@click.option("--ticket", metavar="TEXT", help="Why, for the controller's audit record; else the proposal's message.")
def publish(place: Place, file: str | None, passphrase_file: str | None, refresh: bool, ticket: str | None) -> None:
    """Put in force what enough approvers have signed.

    A running controller does it with its own key (--controller), and refreshes by itself. In a directory it is done
    here, with the online key. Readers see the version before or the version after.
    """
    repository, pending = place.open()
    if place.controller is not None:
        if file is not None or refresh:
            raise click.UsageError("a controller has its online key, and refreshes by itself")
        place.publish(pending.publication(), ticket or _message(pending))
    else:
        if file is None:
            raise click.UsageError("name the --online-key, or a --controller that holds it")
        online = signer(file, passphrase_file)
        if refresh:
            click.echo("refreshed" if repository.refresh(online, _now()) else "still fresh")
            return
        repository.publish(pending.publication(), online, _now())
    pending.clear()
    click.echo(in_force(repository.published()))


@command.command(
    epilog="""\b
Examples:
  ringfort environment log -r repo
  ringfort environment log -r repo --version 3
"""
)
@place_options
@click.option("--version", type=int, metavar="N", help="Show one version: every line of what it changed.")
@FORMAT
def log(place: Place, version: int | None, format_: str) -> None:
    """List the versions and roots: who signed, when, what changed, and what waits now."""
    from ringfort.cli.publishing_log import print_log, print_version

    repository, pending = place.open()
    if version is None:
        print_log(repository, pending, format_)
    else:
        print_version(repository, version, format_)


@command.command(
    epilog="""\b
Examples:
  ringfort environment rotate -r repo --approver carol=carol-2027.key.pub
  ringfort environment rotate -r repo --approver dave=dave.key.pub --remove carol
  ringfort environment rotate -r repo --online online-2027.key.pub
  ringfort environment rotate -r repo
"""
)
@place_options
@click.option("--approver", "approvers", multiple=True, metavar="NAME=FILE", help="A new key, or a new approver.")
@click.option("--remove", "leaving", multiple=True, metavar="NAME", help="An approver who leaves.")
@click.option("--online", metavar="FILE", help="A new key of the controller.")
@click.option("--threshold", type=int, metavar="N", help="How many approvers have to agree from now on.")
def rotate(
    place: Place, approvers: tuple[str, ...], leaving: tuple[str, ...], online: str | None, threshold: int | None
) -> None:
    """Propose a root with other keys; without options, the same root for another year.

    It needs the signatures of enough approvers by the root in force, and of enough by the new one. Where the version in
    force would have too few good signatures left, it waits to be signed again along with it.
    """
    from ringfort.publishing.keys import read_public
    from ringfort.publishing.metadata import Rotation, next_root, renewed_targets, signatures

    repository, pending = place.open()
    published, now = repository.published(), _now()
    place.remember(repository, published)
    changes = {**named_keys(approvers), **dict.fromkeys(leaving)}
    if len(changes) != len(approvers) + len(leaving):
        raise click.UsageError("an approver is given a key and removed")
    rotation = Rotation(changes, threshold, read_public(Path(online)) if online else None)
    root = next_root(published.root.signed, rotation, now)
    again = published.targets is not None and not signatures(root.signed, published.targets).verified
    old = published.targets
    _tell_replaced(pending)
    pending.propose(root=root, targets=renewed_targets(old.signed, now) if old and again else None)
    _print_waiting(pending, published)


def _tell_replaced(pending: Pending) -> None:
    """Say what waited until now, and waits no more."""
    root, targets = pending.root, pending.targets
    waited = [f"root {root.signed.version}"] if root else []
    waited += [f"version {targets.signed.version}"] if targets else []
    if waited:
        notices().print(f"replaces what waited here: {' and '.join(waited)}", markup=False)


def _message(pending: Pending) -> str:
    """What the proposer said."""
    from ringfort.publishing.metadata import environment_target
    from ringfort.publishing.proposal import from_custom

    targets = pending.targets
    return from_custom(environment_target(targets.signed).custom).message if targets else ""


def _published(repository: Repository) -> Published | None:
    """What is published; None before the first root."""
    from ringfort.publishing.errors import PublishingError

    try:
        return repository.published()
    except PublishingError as error:
        if error.code == "repository-missing":
            return None
        raise


def _now() -> datetime:
    return datetime.now(UTC)


def _meaning(published: Published, new: Environment) -> Meaning:
    from ringfort.cli.meaning import meaning_of
    from ringfort.environment.serialise import from_bytes

    return meaning_of(from_bytes(published.environment) if published.environment else None, new)


def _print_meaning(meaning: Meaning, version: int, *, all_rules: bool, format_: str) -> None:
    from ringfort.cli.telling_meaning import as_json, print_meaning

    if format_ == "json":
        click.echo(json.dumps({"version": version, **as_json(meaning)}, indent=2))
    else:
        print_meaning(results(), meaning, version, all_rules=all_rules)


def _print_waiting(pending: Pending, published: Published | None) -> None:
    """Who has signed what waits, on stderr: the next thing to do."""
    from ringfort.cli.telling_meaning import waiting_lines

    console = notices()
    for line in waiting_lines(pending, published):
        console.print(line, markup=False)
