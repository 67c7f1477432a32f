"""Where the files of one HAProxy are; what its configuration names of them can be written there as it is."""

from __future__ import annotations

import re

_PATH = re.compile(r"[A-Za-z0-9/._@+=~-]*")
"""HAProxy gives a meaning to white space, quotes, ``\\``, ``#``, ``$``, ``%``, commas and parentheses (2.6
configuration manual, 2.2 and 7.1); none of the others is needed."""


class Place:
    """A directory of one HAProxy's own: the base of what describes the files in it.

    Attributes:
        directory: all of them.
        account: that HAProxy changes to once it has opened everything; "" keeps the one that it is started with.
    """

    __slots__ = ()
    directory: str
    account: str

    @property
    def socket(self) -> str:
        """The runtime interface."""
        return f"{self.directory}/haproxy.sock"

    @property
    def configuration(self) -> str:
        """The configuration file."""
        return f"{self.directory}/haproxy.cfg"


def check_paths(*paths: str) -> None:
    """Refuse paths, and names of accounts, that can't stand in a configuration as they are.

    Raises:
        ValueError: there is one.
    """
    for path in paths:
        if not _PATH.fullmatch(path):
            raise ValueError(f"a path with characters that mean something in a configuration: {path!r}")
