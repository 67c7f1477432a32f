"""Where verbs find an audit log, and whom they believe."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ringfort.cli.output import notices
from ringfort.errors import RingfortError

if TYPE_CHECKING:
    from ringfort.audit.authentic import AuthenticLog
    from ringfort.audit.checkpoint import SignedCheckpoint
    from ringfort.audit.history import Entry
    from ringfort.audit.policy import Policy
    from ringfort.audit.reading import Files

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path)
_POLICY = click.option(
    "--policy", "policy_file", metavar="FILE", type=_FILE, envvar="RINGFORT_AUDIT_POLICY",
    help="Whom to believe: logs, witnesses, quorum (C2SP tlog-policy).",
)  # fmt: skip
_TLS = (
    click.option("--credential", type=_FILE, envvar="RINGFORT_CREDENTIAL", help="Your certificate and key, for a URL."),
    click.option("--bundle", type=_FILE, envvar="RINGFORT_BUNDLE", help="The platform's trust bundle, for a URL."),
)
_LOG = click.option(
    "--log", "place", metavar="DIR-OR-URL", envvar="RINGFORT_AUDIT_LOG", required=True, help="The log to read."
)
_PERSONAL = click.option("--personal", is_flag=True, help="Show personal values where they are still kept.")


@dataclass(frozen=True)
class Source:
    """A log to read."""

    place: str
    policy_file: Path | None
    credential: Path | None = None
    bundle: Path | None = None
    personal: bool = False

    @cached_property
    def policy(self) -> Policy | None:
        """Whom to believe, if somebody is named."""
        from ringfort.audit.policy import parse_policy

        return None if self.policy_file is None else parse_policy(read(self.policy_file))

    @cached_property
    def files(self) -> Files:
        """The log's files."""
        return self._files(self.place)

    @cached_property
    def signed(self) -> SignedCheckpoint:
        """The checkpoint, accepted by the policy if there is one."""
        from ringfort.audit.checkpoint import parse_checkpoint
        from ringfort.audit.notes import LONGEST_NOTE

        signed = parse_checkpoint(self.files.read("checkpoint", LONGEST_NOTE))
        if self.policy is None:
            notices().print("without --policy nobody's signature is checked, only that records fit the checkpoint")
            return signed
        return self.policy.accept(signed).signed

    @cached_property
    def log(self) -> AuthenticLog:
        """Records under the checkpoint."""
        from ringfort.audit.authentic import AuthenticLog

        return AuthenticLog(self.files, self.signed.checkpoint)

    def entry(self, index: int) -> Entry:
        """One record."""
        from ringfort.audit.history import read_entry

        return self._opened(read_entry(self.log.leaf(index)))

    def backwards(self) -> Iterator[Entry]:
        """All records, the last first."""
        from ringfort.audit.history import read_entry
        from ringfort.audit.tiles import WIDTH

        for number in reversed(range(-(-self.signed.checkpoint.size // WIDTH))):
            for leaf in reversed(self.log.bundle(number)):
                yield self._opened(read_entry(leaf))

    def on(self, name: str) -> list[Entry]:
        """The records on one object, oldest first."""
        from ringfort.audit.history import maybe_on, read_entry
        from ringfort.audit.tiles import WIDTH

        found = []
        for number in range(-(-self.signed.checkpoint.size // WIDTH)):
            likely = [leaf for leaf in self.log.bundle(number) if maybe_on(leaf, name)]
            found += [entry for entry in map(read_entry, likely) if entry.record.on == name]
        return [self._opened(entry) for entry in found]

    def checkpoint_at(self, place: str) -> SignedCheckpoint:
        """A checkpoint in a file, or behind a URL."""
        from ringfort.audit.checkpoint import parse_checkpoint
        from ringfort.audit.notes import LONGEST_NOTE

        if is_url(place):
            prefix, _, name = place.rpartition("/")
            return parse_checkpoint(self._files(prefix).read(name, LONGEST_NOTE))
        return parse_checkpoint(read(Path(place)))

    def _opened(self, entry: Entry) -> Entry:
        if not self.personal:
            return entry
        from ringfort.audit.erasing import opened_beside

        return opened_beside(Path(self.place), entry)

    def _files(self, place: str) -> Files:
        from ringfort.audit.fetching import Web
        from ringfort.audit.reading import Directory

        if not is_url(place):
            return Directory(Path(place))
        web = Web(place, self._tls() if place.startswith("https:") else None)
        click.get_current_context().call_on_close(web.close)
        return web

    def _tls(self) -> ssl.SSLContext | None:
        if self.credential is None or self.bundle is None:
            return None
        from ringfort.identity.store import read_bundle, read_credential
        from ringfort.identity.tls import client_context

        return client_context(read_credential(self.credential), read_bundle(self.bundle))


def is_url(place: str) -> bool:
    """Whether a place is behind a URL."""
    return place.startswith(("http://", "https://"))


def read(path: Path) -> bytes:
    """A file that a user named."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RingfortError("file-unreadable", f"{path} can't be read: {error.strerror}") from error


def source_options(function: F) -> F:
    """The options that say which log, for verbs that show records; they arrive as ``source``."""
    return _collected(function, (_LOG, _POLICY, _PERSONAL, *_TLS), needs_policy=False)


def verifying_options(function: F) -> F:
    """The options for `verify`, whose argument is the log."""
    return _collected(function, (_POLICY, *_TLS), needs_policy=True)


def _collected(function: F, options: tuple[Callable[[Any], Any], ...], *, needs_policy: bool) -> F:
    @functools.wraps(function)
    def collected(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  # whatever click hands over
        own = {name: named.pop(name) for name in list(named) if name in Source.__dataclass_fields__}
        source = Source(**own)
        if needs_policy and source.policy_file is None:
            raise click.UsageError("say whom to believe: --policy FILE, or RINGFORT_AUDIT_POLICY")
        return function(*arguments, source=source, **named)

    wrapped: Any = collected
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]  # it is the function, with options
