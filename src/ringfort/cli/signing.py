"""Keys and passphrases on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringfort.errors import RingfortError

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

LONGEST = 1024

PASSPHRASE_FILE = click.option(
    "--passphrase-file",
    metavar="FILE",
    help="Take the passphrase from the first line of FILE, or of stdin with -, instead of asking for it.",
)


def passphrase(file: str | None, prompt: str, *, confirm: bool = False) -> bytes:
    """The passphrase from a file, or from the person at the terminal."""
    if file is None:
        if not sys.stdin.isatty():
            raise RingfortError("passphrase-needed", f"{prompt}: nobody can be asked", "name a --passphrase-file")
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)).encode()
    try:
        with click.open_file(file, "rb") as stream:
            line: bytes = stream.readline(LONGEST)
    except OSError as error:
        raise RingfortError("passphrase-unreadable", f"{file} cannot be read: {error.strerror}") from error
    return line.rstrip(b"\r\n")


def signer(path: str, file: str | None) -> CryptoSigner:
    """The key in a file, opened with its passphrase if it has one."""
    from ringfort.publishing.keys import needs_passphrase, read_signer

    key = Path(path)
    secret = passphrase(file, f"passphrase of {key}") if needs_passphrase(key) else None
    return read_signer(key, secret)


def named_keys(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Public keys given as NAME=FILE."""
    from ringfort.publishing.keys import read_public

    keys: dict[str, Any] = {}
    for pair in pairs:
        name, _, path = pair.partition("=")
        if not path:
            raise click.UsageError(f"write an approver as NAME=FILE, not {pair!r}")
        if name in keys:
            raise click.UsageError(f"approver {name} is given twice")
        keys[name] = read_public(Path(path))
    return keys
