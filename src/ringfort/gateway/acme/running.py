"""The ACME server as a process: until somebody says stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from aiohttp import web

from ringfort.gateway.acme.server import Server
from ringfort.identity.errors import IdentityError


def run(server: Server, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        IdentityError: it can't listen there.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(_until_told(server, host, port))


async def _until_told(server: Server, host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(server.application, access_log=None)  # who asked for what is nobody's business
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise IdentityError("acme-listen", f"can't listen on {host} port {port}: {error.strerror}") from error
        logging.getLogger("ringfort.acme").info("listening on %s port %d", host, port)
        await stop.wait()
    finally:
        await runner.cleanup()
