"""The HTTP side of ACME (RFC 8555, 6 and 7.1): who signed a request, which call it is, how the answer is written."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from ringfort.errors import RingfortError
from ringfort.gateway.acme import jws, validation
from ringfort.gateway.acme.model import Account, Authorisation, Limits, Order, Status
from ringfort.gateway.acme.problems import AcmeError, Kind, malformed
from ringfort.gateway.acme.service import Service
from ringfort.gateway.acme.validation import Gateway

log = logging.getLogger("ringfort.acme")

LARGEST = 64 * 1024
"""Bytes of a request: one with the largest request for a certificate has some 30,000."""

AT_ONCE = 20
"""Proofs that are looked at together: how much the gateway and applications are asked because of strangers."""

POLL_SECONDS = 2
LIST_SECONDS = 60.0
HOUSE_SECONDS = 3600.0
PROBLEM = "application/problem+json"
JOSE = "application/jose+json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """The server's calls, below one public URL."""

    def __init__(
        self, service: Service, url: str, gateways: Sequence[Gateway], limits: Limits | None = None,
        trusted: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Make it.

        Args:
            url: where clients find it, without a slash at the end.
            gateways: where names are proved.
            trusted: addresses of edge hosts, whose word on who calls is taken.
        """
        self._service, self._url, self._gateways, self._trusted = service, url, tuple(gateways), frozenset(trusted)
        self._limits = limits or Limits()
        self._asking = asyncio.Semaphore(AT_ONCE)
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._list: tuple[float, bytes] = (0.0, b"")
        self._made: dict[str, deque[float]] = {}
        self.application = web.Application(middlewares=[self._answer], client_max_size=LARGEST)
        self.application.add_routes(
            [
                web.get("/directory", self._directory),
                web.get("/new-nonce", self._nonce),  # HEAD as well
                web.post("/new-account", self._new_account),
                web.post("/new-order", self._new_order),
                web.post("/revoke-cert", self._revoke),
                web.post("/key-change", self._key_change),
                web.post("/account/{id}", self._account),
                web.post("/account/{id}/orders", self._orders),
                web.post("/order/{id}", self._order),
                web.post("/order/{id}/finalize", self._finalize),
                web.post("/authorisation/{id}", self._authorisation),
                web.post("/challenge/{id}", self._challenge),
                web.post("/certificate/{id}", self._certificate),
                web.get("/revoked.crl", self._revoked),
            ]
        )
        self.application.cleanup_ctx.append(self._background)

    # Requests

    async def _signed(self, request: web.Request) -> jws.Unverified:
        """A request whose form, address and nonce are right."""
        if request.content_type != JOSE:
            raise malformed(f"the content type is {JOSE}", 415)
        signed = jws.read(await request.read())
        if signed.url != self._url + request.path:
            raise AcmeError(Kind.UNAUTHORIZED, "the signed url is not the one that was asked")
        return signed

    async def _by_account(self, request: web.Request) -> tuple[Account, dict[str, object] | None]:
        """The account that signed a request, and its payload; None for a POST-as-GET (RFC 8555, 6.3)."""
        signed = await self._signed(request)
        if not signed.account:
            raise malformed("this call is signed by an account (kid)")
        account = await self._verified(signed)
        payload = jws.json_object(signed.payload, "the payload") if signed.payload else None
        return account, payload

    async def _verified(self, signed: jws.Unverified) -> Account:
        prefix = f"{self._url}/account/"
        if not signed.account.startswith(prefix):
            raise AcmeError(Kind.ACCOUNT_DOES_NOT_EXIST, "kid is not the URL of an account here")
        account = await asyncio.to_thread(self._service.account, signed.account.removeprefix(prefix))
        jws.verify(signed, jws.read_key(jws.json_object(account.key.encode(), "the account's key")))
        await asyncio.to_thread(self._service.use_nonce, signed.nonce, _now())
        return account

    async def _by_key(self, request: web.Request) -> tuple[jws.Key, dict[str, object]]:
        """The key that came along with a request and signed it, and the payload."""
        signed = await self._signed(request)
        if signed.key is None:
            raise malformed("this call is signed by the key that comes along (jwk)")
        jws.verify(signed, signed.key)
        await asyncio.to_thread(self._service.use_nonce, signed.nonce, _now())
        return signed.key, jws.json_object(signed.payload, "the payload")

    def _caller(self, request: web.Request) -> str:
        """Where a request really comes from."""
        forwarded = request.headers.get("X-Forwarded-For", "")
        remote = request.remote or ""
        return forwarded if remote in self._trusted and forwarded else remote

    # Answers

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except AcmeError as error:
            response = _problem(error)
        except web.HTTPException as error:
            response = _problem(malformed(error.reason, error.status))
        except (RingfortError, SQLAlchemyError) as error:
            log.warning("%s: %s", type(error).__name__, str(error).partition("\n")[0])
            response = _problem(AcmeError(Kind.SERVER_INTERNAL, "that can't be done at present", 503, retry_after=30))
        response.headers["Cache-Control"] = "no-store"
        response.headers.add("Link", f'<{self._url}/directory>;rel="index"')
        if request.method == "POST" or request.path == "/new-nonce":
            response.headers["Replay-Nonce"] = self._service.nonce(_now())
        return response

    async def _directory(self, _request: web.Request) -> web.Response:
        calls = {
            "newNonce": "new-nonce", "newAccount": "new-account", "newOrder": "new-order", "revokeCert": "revoke-cert",
            "keyChange": "key-change",
        }  # fmt: skip
        urls: dict[str, object] = {name: f"{self._url}/{path}" for name, path in calls.items()}
        return web.json_response({**urls, "meta": {"externalAccountRequired": False}})

    async def _nonce(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if request.method == "HEAD" else 204)

    # Accounts

    def _account_response(self, account: Account, status: int) -> web.Response:
        url = f"{self._url}/account/{account.id}"
        body = {"status": account.status, "orders": f"{url}/orders"}
        return web.json_response(body, status=status, headers={"Location": url})

    async def _new_account(self, request: web.Request) -> web.Response:
        key, payload = await self._by_key(request)
        found = await asyncio.to_thread(self._service.account_of_key, key.thumbprint)
        if found is not None:
            return self._account_response(found, 200)
        if payload.get("onlyReturnExisting") is True:
            raise AcmeError(Kind.ACCOUNT_DOES_NOT_EXIST, "there is no account with this key")
        self._count_account(self._caller(request))
        return self._account_response(await asyncio.to_thread(self._service.add_account, key, _now()), 201)

    def _count_account(self, caller: str) -> None:
        now = time.monotonic()
        for known in [known for known, times in self._made.items() if times[-1] < now - HOUSE_SECONDS]:
            del self._made[known]
        times = self._made.setdefault(caller, deque(maxlen=self._limits.accounts))
        if len(times) == self._limits.accounts and times[0] > now - HOUSE_SECONDS:
            raise AcmeError(Kind.RATE_LIMITED, f"{self._limits.accounts} new accounts in an hour", retry_after=600)
        times.append(now)

    async def _account(self, request: web.Request) -> web.Response:
        account, payload = await self._by_account(request)
        self._own(request, account)
        if payload and payload.get("status") == Status.DEACTIVATED:
            account = await asyncio.to_thread(self._service.deactivate, account)
        elif payload and "status" in payload:
            raise malformed("an account can be deactivated, and nothing else")
        return self._account_response(account, 200)

    @staticmethod
    def _own(request: web.Request, account: Account) -> None:
        if request.match_info["id"] != account.id:
            raise AcmeError(Kind.UNAUTHORIZED, "this is another account")

    async def _orders(self, request: web.Request) -> web.Response:
        account, _ = await self._by_account(request)
        self._own(request, account)
        found = await asyncio.to_thread(self._service.orders, account)
        return web.json_response({"orders": [f"{self._url}/order/{one}" for one in found]})

    async def _key_change(self, request: web.Request) -> web.Response:
        """RFC 8555, 7.3.5: the old key signs, outside, what the new key signed inside."""
        account, payload = await self._by_account(request)
        inner = jws.read(jws.json_text(payload or {}))
        if inner.key is None or inner.nonce or inner.url != self._url + request.path:
            raise malformed("inside is a request for the same url, signed by the new key (jwk), without a nonce")
        jws.verify(inner, inner.key)
        asked = jws.json_object(inner.payload, "the inner payload")
        if asked.get("account") != f"{self._url}/account/{account.id}":
            raise malformed("inside is another account")
        if jws.read_key(asked.get("oldKey")).thumbprint != account.thumbprint:
            raise malformed("inside is another old key")
        await asyncio.to_thread(self._service.change_key, account, inner.key)
        return self._account_response(account, 200)

    # Orders

    def _order_response(self, order: Order, status: int) -> web.Response:
        url = f"{self._url}/order/{order.id}"
        body: dict[str, object] = {
            "status": order.status(_now()),
            "expires": _text(order.expires),
            "identifiers": [{"type": "dns", "value": name} for name in order.names],
            "authorizations": [f"{self._url}/authorisation/{one.id}" for one in order.authorisations],
            "finalize": f"{url}/finalize",
        }
        if order.certificate is not None:
            body["certificate"] = f"{self._url}/certificate/{order.certificate}"
        if order.error is not None:
            body["error"] = order.error
        return web.json_response(body, status=status, headers={"Location": url})

    async def _new_order(self, request: web.Request) -> web.Response:
        account, payload = await self._by_account(request)
        order = await asyncio.to_thread(self._service.add_order, account, payload or {}, _now())
        return self._order_response(order, 201)

    async def _order(self, request: web.Request) -> web.Response:
        account, _ = await self._by_account(request)
        return self._order_response(
            await asyncio.to_thread(self._service.order, account, request.match_info["id"]), 200
        )

    async def _finalize(self, request: web.Request) -> web.Response:
        account, payload = await self._by_account(request)
        csr = jws.decoded((payload or {}).get("csr"), "csr")
        order = await asyncio.to_thread(self._service.finalize, account, request.match_info["id"], csr, _now())
        return self._order_response(order, 200)

    # Authorisations and challenges

    def _challenge_body(self, one: Authorisation) -> dict[str, object]:
        url = f"{self._url}/challenge/{one.id}"
        body: dict[str, object] = {"type": "http-01", "url": url, "token": one.token, "status": one.challenge}
        if one.validated is not None:
            body["validated"] = _text(one.validated)
        if one.error is not None:
            body["error"] = one.error
        return body

    async def _authorisation(self, request: web.Request) -> web.Response:
        account, payload = await self._by_account(request)
        identifier = request.match_info["id"]
        call = self._service.authorisation
        if payload:
            if payload != {"status": Status.DEACTIVATED}:
                raise malformed("an authorisation can be deactivated, and nothing else")
            call = self._service.give_up
        one = await asyncio.to_thread(call, account, identifier)
        shown = Status.PENDING if one.status is Status.PROCESSING else one.status
        if shown in (Status.PENDING, Status.VALID) and _now() >= one.expires:
            shown = Status.EXPIRED if shown is Status.VALID else Status.INVALID
        body = {
            "identifier": {"type": "dns", "value": one.name}, "status": shown, "expires": _text(one.expires),
            "challenges": [self._challenge_body(one)],
        }  # fmt: skip
        return web.json_response(body, headers={"Retry-After": str(POLL_SECONDS)})

    async def _challenge(self, request: web.Request) -> web.Response:
        account, payload = await self._by_account(request)
        identifier = request.match_info["id"]
        if payload is None:
            one = await asyncio.to_thread(self._service.authorisation, account, identifier)
        else:
            one, is_new = await asyncio.to_thread(self._service.begin, account, identifier, _now())
            if is_new:
                self._look(identifier)
        response = web.json_response(self._challenge_body(one), headers={"Retry-After": str(POLL_SECONDS)})
        response.headers.add("Link", f'<{self._url}/authorisation/{one.id}>;rel="up"')
        return response

    def _look(self, identifier: str) -> None:
        task = asyncio.create_task(self._validate(identifier))
        self._looking[identifier] = task
        task.add_done_callback(lambda _: self._looking.pop(identifier, None))

    async def _validate(self, identifier: str) -> None:
        found = await asyncio.to_thread(self._service.expected, identifier)
        if found is None:
            return
        one, expected = found
        problem: AcmeError | None = None
        try:
            async with self._asking:
                await validation.check(self._gateways, one.name, one.token, expected)
        except AcmeError as error:
            problem = error
        await asyncio.to_thread(self._service.finish, identifier, problem, _now())

    # Certificates

    async def _certificate(self, request: web.Request) -> web.Response:
        account, _ = await self._by_account(request)
        found = await asyncio.to_thread(self._service.certificate, account, request.match_info["id"])
        return web.Response(body=found.chain.encode(), content_type="application/pem-certificate-chain")

    async def _revoke(self, request: web.Request) -> web.Response:
        signed = await self._signed(request)
        signer: Account | jws.Key
        if signed.key is None:
            signer = await self._verified(signed)
        else:
            signer = signed.key
            jws.verify(signed, signer)
            await asyncio.to_thread(self._service.use_nonce, signed.nonce, _now())
        payload = jws.json_object(signed.payload, "the payload")
        der = jws.decoded(payload.get("certificate"), "certificate")
        await asyncio.to_thread(self._service.revoke, signer, der, payload.get("reason", 0), _now())
        self._list = (0.0, b"")
        return web.Response()

    async def _revoked(self, _request: web.Request) -> web.Response:
        if time.monotonic() - self._list[0] > LIST_SECONDS or not self._list[1]:
            self._list = (time.monotonic(), await asyncio.to_thread(self._service.revocation_list, _now()))
        return web.Response(body=self._list[1], content_type="application/pkix-crl")

    # In the background

    async def _background(self, _application: web.Application) -> AsyncIterator[None]:
        for identifier in await asyncio.to_thread(self._service.waiting):
            self._look(identifier)
        house = asyncio.create_task(self._keep_house())
        yield
        tasks = [house, *self._looking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._service.database.close()

    async def _keep_house(self) -> None:
        while True:
            await asyncio.to_thread(self._service.keep_house, _now())
            await asyncio.sleep(HOUSE_SECONDS)


def _problem(error: AcmeError) -> web.Response:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    return web.json_response(error.document(), status=error.status, content_type=PROBLEM, headers=headers)


def _now() -> datetime:
    return datetime.now(UTC)


def _text(time_: datetime) -> str:
    return time_.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
