"""How a machine becomes a node: a token, once, and the root of those who approve environments.

The token proves that the machine is the one it was made for, and brings the authorities to know controllers by. Whom to
believe about the environment is not for a controller to say: the root comes by the hands that bring the token.
"""

from __future__ import annotations

import shutil
import ssl

from ringfort.environment.model import Address
from ringfort.errors import RingfortError
from ringfort.identity import tls, token
from ringfort.identity.certificates import new_key
from ringfort.node import clock, guarding, membership
from ringfort.node.client import Client
from ringfort.node.configuration import Configuration
from ringfort.node.disk import Disk
from ringfort.node.run import identity
from ringfort.publishing.trust import Trust


def enrol(configuration: Configuration, line: str, root: bytes | None) -> str:
    """Enrol this machine with a token; until when its first certificate is valid.

    Args:
        line: the token.
        root: the document of the approvers' root (``1.root.json``); None if it is pinned already.

    Raises:
        RingfortError: the token is another machine's, used up or too old; another root is pinned; or no controller
            answers.
    """
    shown = token.read(line)
    own = identity(configuration)
    if (shown.node, shown.bundle.trust_domain) != (own.name, own.trust_domain):
        message = (
            f"the token is for {shown.node} of {shown.bundle.trust_domain}, this is {own.name} of {own.trust_domain}"
        )
        raise RingfortError("token-other-node", message, "ask for a token for this machine")
    disk = Disk(configuration.state)
    _pin(disk, root)
    context = tls.client_context(shown.credential, shown.bundle)

    def connect(address: Address, port: int, seconds: float) -> ssl.SSLSocket:
        return membership.connect(context, shown.bundle, address, port, seconds, clock.now())

    key = new_key()
    client = Client(configuration.name, configuration.controllers, connect)
    try:
        chain = client.enrol(membership.request(key))
    finally:
        client.close()
    credential = membership.credential_of(chain, key, own, shown.bundle, clock.now())
    membership.create(disk.identity, credential, shown.bundle)
    # What a machine held before is trusted no longer once it is enrolled anew; for its services it asks again.
    shutil.rmtree(guarding.services(configuration.state), ignore_errors=True)
    return credential.leaf.not_valid_after_utc.isoformat(timespec="seconds")


def _pin(disk: Disk, root: bytes | None) -> None:
    if root is not None:
        Trust.pin(disk.trust, root)
    elif not (disk.trust / "root.json").exists():
        message = "nothing says whose signatures to believe"
        raise RingfortError("root-missing", message, "give the approvers' root: --root 1.root.json")
