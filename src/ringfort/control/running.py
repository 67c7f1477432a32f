"""A controller as a process: until somebody says stop, and telling systemd when it is ready."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys

from ringfort.control.controller import Controller
from ringfort.control.settings import Settings


def run(settings: Settings) -> None:
    """Run a controller until SIGTERM or SIGINT.

    Raises:
        RingfortError: it can't begin.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for chatty in ("alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    asyncio.run(_until_told(Controller(settings)))


async def _until_told(controller: Controller) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await controller.start()
        log = logging.getLogger("ringfort.control")
        for what, addresses in (
            ("platform", controller.platform_addresses),
            ("customers", controller.customer_addresses),
        ):
            for host, port in addresses:
                log.info("listening for %s on %s port %d", what, host, port)
        tell_systemd("READY=1")
        await stop.wait()
        tell_systemd("STOPPING=1")
    finally:
        await controller.close()


def tell_systemd(state: str) -> None:
    """Tell systemd how we are, if it started us and asked to be told (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.send(state.encode())
