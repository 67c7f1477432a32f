"""One call from its request to its answer: who, whether they may, what comes of it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial

from aiohttp import web
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ringfort.compute.sealing import SealedError
from ringfort.control.authorisation import Policies
from ringfort.control.bodies import HEAVY_AT_ONCE, Bodies, Slots, parsed, queried
from ringfort.control.callers import NOBODY, Caller, Kind, refused
from ringfort.control.calls import Call
from ringfort.control.clock import now as clock
from ringfort.control.connections import Connection
from ringfort.control.database import Database
from ringfort.control.errors import ControlError, ProblemError
from ringfort.control.models import Desired, DesiredQuery
from ringfort.control.openapi import description_bytes
from ringfort.control.operation import BYTES, PARAMETERS, SMALL, Operation
from ringfort.control.performing import Answered, fingerprint, perform
from ringfort.control.problems import MEDIA_TYPE, problem_bytes
from ringfort.control.rates import Rates
from ringfort.control.routes import OPERATIONS
from ringfort.control.serving import Served
from ringfort.control.state import Kept, Watcher
from ringfort.control.writer import Writer, WriterBusyError

log = logging.getLogger("ringfort.control")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Identify = Callable[[Connection, web.Request, datetime], Caller]

LONG_POLL_SECONDS = 25.0
LONGEST_REASON = 500
PREPARED_AT_ONCE = 2
"""Threads for what takes long; others wait, and reads, which have threads of their own, don't."""

MOST_ALLOWED = 64
"""Reads of a connection that are known to be allowed."""

_KEY = re.compile(r"[!-~]{8,128}")


class Dispatcher:
    """Answers calls with what belongs to one controller."""

    def __init__(
        self, served: Served, database: Database, watcher: Watcher, writer: Writer, policies: Policies
    ) -> None:
        self._served, self._database, self._watcher, self._writer = served, database, watcher, writer
        self._policies = policies
        self._state = watcher.state
        self._kept = Kept(watcher.state)
        self._bodies, self._customers_bodies = Bodies(), Bodies(HEAVY_AT_ONCE)
        self._rates = Rates()
        self._slots = Slots()
        self._aside = ThreadPoolExecutor(PREPARED_AT_ONCE, thread_name_prefix="preparing")
        key = served.former_data_key or served.data_key  # as long as other controllers may have only that one
        secret = key.derived("fingerprints of calls") if key is not None else b""
        self._fingerprint = partial(fingerprint, secret)

    def close(self) -> None:
        """Let what is being prepared end."""
        self._aside.shutdown()

    def application(self, customers: bool, identify: Identify) -> web.Application:
        """The calls for customers' certificates, or those for the platform's own."""
        application = web.Application(middlewares=[_in_our_words])
        for operation in OPERATIONS:
            if operation.customers == customers or operation.name == "readDescription":
                path = operation.path
                for name in operation.parameters:
                    path = path.replace(f"{{{name}}}", f"{{{name}:{_regex(name)}}}")
                application.router.add_route(operation.method, path, self._handler(operation, identify))
        application.router.add_route("*", "/{anything:.*}", _unknown(customers))
        return application

    def _handler(self, operation: Operation, identify: Identify) -> Handler:
        answer = self._read if operation.change is None else self._change
        if operation.waits:
            answer = self._wait
        if operation.follows is not None:
            answer = self._follow
        if operation.name == "readDescription":
            answer = self._describe

        async def handle(request: web.Request) -> web.Response:
            try:
                again = self._again(operation, request)
                if again is not None:
                    return again
                _refuse_parameters(request)
                return await answer(operation, request, self._caller(request, identify))
            except ProblemError as error:
                return refusal(error)
            except (DBAPIError, PoolTimeoutError, WriterBusyError) as error:
                log.warning("the database does not answer: %s", type(error).__name__, exc_info=error)
                return refusal(_busy())
            except (ControlError, SealedError) as error:
                log.error("%s: %s", error.code, error.message)  # noqa: TRY400  # expected, and said in words
                return refusal(ProblemError(500, error.code, error.message, error.hint))
            except Exception:
                log.exception("%s %s", request.method, request.path)
                return refusal(ProblemError(500, "own-error", "this is an error of the controller", "see its log"))

        return handle

    # -- who, and whether they may ---------------------------------------------------------------------------------

    def _caller(self, request: web.Request, identify: Identify) -> Caller:
        connection, now = request.protocol, clock()
        assert isinstance(connection, Connection)
        state = self._state
        if not state.is_fresh:
            raise ProblemError(
                503, "state-unknown", "the controller does not know what was revoked lately", "try another one"
            )
        caller = connection.caller
        if caller is None or self._acts_as_another(caller):
            caller = connection.caller = identify(connection, request, now)
            connection.judge = self._policies.judge(caller)
        if now > caller.expires:
            raise refused("certificate-expired", "the certificate has expired meanwhile", "renew it and connect again")
        if self.distrusted(caller):
            raise refused("certificate-revoked", "this certificate is no longer trusted")
        return caller

    def _acts_as_another(self, caller: Caller) -> bool:
        """Whether an operator's roles were changed since the connection was opened."""
        if caller.kind is not Kind.OPERATOR:
            return False
        mine = self._state.operators.get(caller.name, NOBODY)
        return (mine.roles, mine.sites) != (caller.roles, caller.sites)

    def distrusted(self, caller: Caller) -> bool:
        """Whether a caller whose connection stands has lost our trust meanwhile."""
        state = self._state
        if caller.kind is Kind.CUSTOMER:
            return state.customers.get(caller.thumbprint, ("",))[0] != caller.name
        known = caller.authority in state.authorities
        return not known or caller.number in state.revoked or caller.issuer in state.revoked

    def _allow(
        self,
        operation: Operation,
        request: web.Request,
        caller: Caller,
        form: BaseModel | None = None,
        reason: str = "",
    ) -> None:
        resource = operation.about(self._state, caller, request.match_info, form)
        judge = request.protocol.judge  # type: ignore[attr-defined]  # a Connection, as `_caller` made sure
        decision = judge.decide(operation.action, resource, bool(reason))
        if decision.allowed:
            return
        because = f" (policy {', '.join(decision.because)})" if decision.because else ""
        log.info("refused %s %s %s/%s%s", caller.identity, operation.action, resource.kind, resource.name, because)
        hint = (
            "say why in the header Ringfort-Ticket" if "operator: a change needs a reason" in decision.because else ""
        )
        raise ProblemError(403, "forbidden", f"{caller.identity} may not {operation.action} here{because}", hint)

    # -- what comes of it ------------------------------------------------------------------------------------------

    def _again(self, operation: Operation, request: web.Request) -> web.Response | None:
        """The answer to a read that this caller was allowed on this connection already, and that is still kept.

        Whether it is allowed hangs on the caller, the path and the state, and on the time for the certificate's end
        and the state's age, which are looked at each time. None: it has to be found out (again).
        """
        connection, state = request.protocol, self._state
        assert isinstance(connection, Connection)
        if connection.allowed.get((operation.name, request.raw_path)) != state.generation:
            return None
        assert connection.caller is not None
        if not state.is_fresh or clock() > connection.caller.expires:
            return None
        body = self._kept.get(request.raw_path, self._kept.numbers(operation.topics))
        return _response(operation, body) if body is not None else None

    async def _read(self, operation: Operation, request: web.Request, caller: Caller) -> web.Response:
        generation = self._state.generation
        self._allow(operation, request, caller)
        if not operation.topics:
            return _response(operation, await self._ask(operation, request, caller))
        connection = request.protocol
        assert isinstance(connection, Connection)
        if len(connection.allowed) >= MOST_ALLOWED:
            connection.allowed.clear()
        connection.allowed[operation.name, request.raw_path] = generation
        numbers = self._kept.numbers(operation.topics)
        body = self._kept.get(request.raw_path, numbers)
        if body is None:
            body = await self._ask(operation, request, caller)
            self._kept.put(request.raw_path, numbers, body)
        return _response(operation, body)

    async def _follow(self, operation: Operation, request: web.Request, caller: Caller) -> web.Response:
        """A read that waits for news, if there are none yet; the last look is the answer."""
        self._allow(operation, request, caller)
        assert operation.follows is not None
        assert operation.news is not None
        query, topic = queried(request, operation.query), operation.follows(request.match_info)
        until = time.monotonic() + LONG_POLL_SECONDS
        while True:
            numbers = self._kept.numbers((topic,))
            answer = await self._look(operation, request, caller)
            left = until - time.monotonic()
            if left <= 0 or operation.news(query, answer):
                return _response(operation, _encoded(answer))
            if numbers == self._kept.numbers((topic,)):  # else it changed while we looked
                await self._watcher.changed(frozenset({topic}), left)

    async def _ask(self, operation: Operation, request: web.Request, caller: Caller) -> bytes:
        return _encoded(await self._look(operation, request, caller))

    async def _look(self, operation: Operation, request: web.Request, caller: Caller) -> BaseModel | bytes:
        call = Call(caller, dict(request.match_info), None, queried(request, operation.query), "", "", clock())

        def look() -> BaseModel | bytes:
            assert operation.read is not None
            with self._database.reading() as connection:
                return operation.read(self._served, connection, call)

        return await asyncio.to_thread(look)

    async def _change(self, operation: Operation, request: web.Request, caller: Caller) -> web.Response:
        key, reason = request.headers.get("Idempotency-Key", ""), _reason(request)
        if not _KEY.fullmatch(key):
            hint = "8 to 128 printable characters, new for each new call"
            raise ProblemError(
                400, "idempotency-key-missing", "a change needs the header Idempotency-Key", hint, close=True
            )
        queried(request, None)
        if not self._rates.allows(caller.identity, time.monotonic()):
            raise ProblemError(429, "too-many", f"{caller.identity} makes too many changes", "slow down", close=True)
        if operation.raw:  # what is large is taken from those only who may send it
            self._allow(operation, request, caller, None, reason)
        is_heavy = operation.prepare is not None or (operation.customers and operation.largest > SMALL)
        async with self._slots.taken(caller.identity) if is_heavy else nullcontext():
            answered = await self._performed(operation, request, caller, reason, key)
        if answered.topics:
            await self._watcher.look()
        media = "application/json" if answered.status < 400 else MEDIA_TYPE
        return web.Response(status=answered.status, body=answered.body, content_type=media)

    async def _performed(
        self, operation: Operation, request: web.Request, caller: Caller, reason: str, key: str
    ) -> Answered:
        takes_any = operation.raw or operation.form is not None
        bodies = self._customers_bodies if operation.customers else self._bodies
        body = await bodies.read(request, operation.largest if takes_any else 0)
        form = await parsed(request, body, operation.form) if operation.form is not None else None
        if operation.raw and request.content_type != BYTES:
            raise ProblemError(415, "media-type", f"the body has to be {BYTES}")
        self._allow(operation, request, caller, form, reason)
        content = body if operation.raw else b""
        call = Call(caller, dict(request.match_info), form, None, reason, key, clock(), content)
        mark = self._fingerprint(request.method, request.path, body)
        del body
        if operation.prepare is not None:
            prepared = await asyncio.get_running_loop().run_in_executor(self._aside, self._prepare, operation, call)
            call = replace(call, prepared=prepared)
        change = operation.change
        assert change is not None
        return await self._writer.run(
            lambda connection: perform(
                connection, call, mark, lambda c, asked: change(self._served, self._state, c, asked)
            )
        )

    def _prepare(self, operation: Operation, call: Call) -> object:
        assert operation.prepare is not None
        with self._database.reading() as connection:
            return operation.prepare(self._served, connection, call)

    async def _wait(self, operation: Operation, request: web.Request, caller: Caller) -> web.Response:
        self._allow(operation, request, caller)
        query = queried(request, DesiredQuery)
        assert query is not None
        if self._desired().is_known(query):
            await self._watcher.changed(query.topics, LONG_POLL_SECONDS)
        return _response(operation, self._desired().model_dump_json().encode())

    def _desired(self) -> Desired:
        state = self._state
        lists = state.numbers.get("lists", 0)
        return Desired(version=state.version, lists=lists, bundle=state.bundle, root=state.root)

    async def _describe(self, operation: Operation, request: web.Request, caller: Caller) -> web.Response:
        self._allow(operation, request, caller)
        return _response(operation, description_bytes())


def refusal(error: ProblemError) -> web.Response:
    """A refusal as a response."""
    response = web.Response(status=error.status, body=problem_bytes(error), content_type=MEDIA_TYPE)
    if error.status in (429, 503):
        response.headers["Retry-After"] = "1"
    if error.close:
        response.force_close()
    return response


def _refuse_parameters(request: web.Request) -> None:
    """Paths are matched loosely; what stands in them is judged here."""
    for name, value in request.match_info.items():
        if not re.fullmatch(PARAMETERS[name], value):
            raise ProblemError(404, "not-found", "there is no such path", close=True)


def _encoded(answer: BaseModel | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.model_dump_json(by_alias=True).encode()


def _busy() -> ProblemError:
    return ProblemError(503, "database-unavailable", "the database does not answer", "ask again with the same key")


def _response(operation: Operation, body: bytes) -> web.Response:
    return web.Response(body=body, content_type=BYTES if operation.answer == BYTES else "application/json")


def _reason(request: web.Request) -> str:
    reason = request.headers.get("Ringfort-Ticket", "").strip()
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise ProblemError(
            400, "reason-unreadable", f"a reason is one line of at most {LONGEST_REASON} characters", close=True
        )
    return reason


def _regex(name: str) -> str:
    # aiohttp's own syntax for the parts of a path counts braces, so counted repeats are written otherwise
    return re.sub(r"\{[0-9]+,[0-9]*\}|\{[0-9]+\}", "*", PARAMETERS[name])


_PATHS = [
    (operation, re.compile(re.sub(r"\{(\w+)\}", lambda part: PARAMETERS[part[1]], operation.path)))
    for operation in OPERATIONS
]


@web.middleware
async def _in_our_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the server refuses before any handler (CONNECT, a path that is no path), as a problem document."""
    try:
        return await handler(request)
    except web.HTTPException:
        return refusal(ProblemError(404, "not-found", "there is no such path", close=True))


def _unknown(customers: bool) -> Handler:
    """Paths and methods that are none of ours."""

    async def handle(request: web.Request) -> web.Response:
        mine = [one for one, path in _PATHS if one.customers == customers and path.fullmatch(request.path)]
        if not mine:
            return refusal(ProblemError(404, "not-found", "there is no such path", close=True))
        response = refusal(ProblemError(405, "method-unknown", f"{request.method} is not possible here", close=True))
        response.headers["Allow"] = ", ".join(sorted({one.method for one in mine}))
        return response

    return handle
