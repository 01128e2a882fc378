"""Who is let in, and as whom: keys in a real Valkey, requests as ASGI servers hand them over."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Literal

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from cacheserver.api import errors
from cacheserver.api.dependencies import Caller, Gate, forwarded, is_loopback
from cacheserver.core.errors import (
    BadRequest,
    CallerError,
    Forbidden,
    Loop,
    SettingsError,
    Unauthenticated,
    Unavailable,
)
from cacheserver.core.types import Bar, Tenant
from cacheserver.storage.connection import Connection, connect
from cacheserver.tenants.store import FRESH_S, Tenants
from tests.house import serving as serving_app
from tests.redis_servers import ENGINES, serving

ADMIN = "an-admin-key-for-tests"
LOOPBACK = ("127.0.0.1", 50_000)
FAR = ("203.0.113.9", 50_000)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(ENGINES["valkey"]) as address:
        yield address


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tenants(redis: Connection, clock: Clock) -> Tenants:
    defaults = Tenant(name="default", bar=Bar(similarity=0.9))
    return Tenants(redis, prefix=f"{uuid.uuid4().hex}:", defaults=defaults, clock=clock)


def gate(tenants: Tenants, credentials: Literal["server", "caller"] = "server") -> Gate:
    return Gate(tenants, credentials=credentials, admin_key=ADMIN)


def asked(
    *headers: tuple[str, str],
    host: str | None = "localhost:8080",
    client: tuple[str, int] | None = LOOPBACK,
    server: tuple[str, int | None] | None = ("127.0.0.1", 8080),
) -> HTTPConnection:
    raw = [(b"host", host.encode())] if host is not None else []
    raw += [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return HTTPConnection({"type": "http", "headers": raw, "client": client, "server": server})


def bearer(key: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {key}")


def who(caller: Caller) -> tuple[str, str | None]:
    return caller.tenant.name, caller.credential


class TestWithoutKeys:
    """Open to this machine, as `default`; to nobody else."""

    @pytest.mark.parametrize(
        "host",
        ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]", "LOCALHOST:80"],
    )
    async def test_this_machine_is_let_in_under_its_names(
        self, tenants: Tenants, host: str
    ) -> None:
        assert who(await gate(tenants).admit(asked(host=host))) == ("default", None)

    @pytest.mark.parametrize(
        "header",
        [bearer("anything"), ("x-api-key", "sk-ant-x"), ("cookie", "a=b")],
    )
    async def test_any_credential_is_taken_and_none_is_used(
        self, tenants: Tenants, header: tuple[str, str]
    ) -> None:
        assert who(await gate(tenants).admit(asked(header))) == ("default", None)

    @pytest.mark.parametrize(
        "host",
        [
            *(None, "", "evil.example", "localhost.evil.example", "evil.example:8080"),
            *("127.0.0.1.nip.io", "localhost:8080@evil.example", "evil.example@localhost"),
            *("localhost:", "localhost:80x", "localhost.", "[::1", "[::2]", "192.168.1.5:8080"),
            *("0.0.0.0:8080", "127.0.0.2", "localhost, evil.example"),
        ],
    )
    async def test_another_name_is_refused(self, tenants: Tenants, host: str | None) -> None:
        with pytest.raises(Forbidden):
            await gate(tenants).admit(asked(host=host))

    async def test_two_host_headers_are_refused(self, tenants: Tenants) -> None:
        with pytest.raises(Forbidden):
            await gate(tenants).admit(asked(("host", "evil.example")))

    @pytest.mark.parametrize(
        "origin",
        [
            *("https://evil.example", "null", "", "http://localhost:3000", "http://localhost"),
            *("http://localhost:8080.evil.example", "file://", "http://[", "HTTP://LOCALHOST:8080"),
        ],
    )
    async def test_a_page_of_another_site_is_refused(self, tenants: Tenants, origin: str) -> None:
        with pytest.raises(Forbidden):
            await gate(tenants).admit(asked(("origin", origin)))

    async def test_our_own_page_is_let_in(self, tenants: Tenants) -> None:
        caller = await gate(tenants).admit(asked(("origin", "http://localhost:8080")))
        assert caller.tenant.name == "default"

    @pytest.mark.parametrize(
        "request_",
        [
            asked(client=FAR),
            asked(server=("192.168.1.5", 8080)),
            asked(client=("::ffff:203.0.113.9", 1)),
            asked(("x-forwarded-for", "127.0.0.1")),
            asked(("forwarded", "for=127.0.0.1")),
            asked(("x-real-ip", "127.0.0.1")),
        ],
    )
    async def test_another_machine_needs_a_key(
        self, tenants: Tenants, request_: HTTPConnection
    ) -> None:
        with pytest.raises(Unauthenticated):
            await gate(tenants).admit(request_)

    @pytest.mark.parametrize(
        "request_",
        [
            asked(client=("::1", 1), server=("::1", 8080), host="[::1]:8080"),
            asked(client=None, server=None),
            asked(client=None, server=("/run/cacheserver.sock", None)),
        ],
    )
    async def test_every_way_from_this_machine_is_known(
        self, tenants: Tenants, request_: HTTPConnection
    ) -> None:
        assert (await gate(tenants).admit(request_)).tenant.name == "default"

    @pytest.mark.parametrize("client", [LOOPBACK, FAR])
    async def test_a_key_of_ours_that_is_not_known_is_no_open_door(
        self, tenants: Tenants, client: tuple[str, int]
    ) -> None:
        """It is a tenant's, of whom nothing is left here: nobody else's answers are theirs."""
        for sent in (bearer("cs_unknown"), ("x-api-key", "cs_unknown")):
            with pytest.raises(Unauthenticated):
                await gate(tenants).admit(asked(sent, client=client))

    async def test_the_first_key_closes_it_and_the_last_one_gone_opens_nothing(
        self, tenants: Tenants, clock: Clock
    ) -> None:
        assert (await gate(tenants).admit(asked())).key_id is None
        key, plain = await tenants.create_key("acme")
        with pytest.raises(Unauthenticated):
            await gate(tenants).admit(asked())
        await tenants.revoke_key(key.id)
        clock.now += FRESH_S
        for request in (asked(), asked(client=FAR), asked(bearer(plain))):
            with pytest.raises(Unauthenticated):
                await gate(tenants).admit(request)
        await tenants.open()
        assert (await gate(tenants).admit(asked())).tenant.name == "default"
        with pytest.raises(Unauthenticated):
            await gate(tenants).admit(asked(bearer(plain)))

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
    async def test_listening_elsewhere_is_refused_until_there_is_a_key(
        self, tenants: Tenants, host: str
    ) -> None:
        with pytest.raises(SettingsError, match="CACHESERVER_HOST"):
            await gate(tenants).refuse_open_bind(host)
        await tenants.create_key("acme")
        await gate(tenants).refuse_open_bind(host)

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.9.1"])
    async def test_listening_on_loopback_needs_no_key(self, tenants: Tenants, host: str) -> None:
        assert is_loopback(host)
        await gate(tenants).refuse_open_bind(host)


class TestWithKeys:
    @pytest.mark.parametrize("client", [LOOPBACK, FAR])
    async def test_a_key_is_taken_as_bearer_and_as_x_api_key(
        self, tenants: Tenants, client: tuple[str, int]
    ) -> None:
        key, plain = await tenants.create_key("acme")
        for sent in (
            [bearer(plain)],
            [("authorization", f"bearer  {plain}")],
            [("x-api-key", plain)],
            [bearer(plain), ("x-api-key", plain)],
            [bearer(plain), ("x-api-key", "sk-ant-api03-theirs")],
            [("authorization", "Basic dTpw"), ("x-api-key", plain)],
        ):
            caller = await gate(tenants).admit(asked(*sent, client=client, host="any.example"))
            assert (*who(caller), caller.key_id) == ("acme", None, key.id)

    async def test_each_key_is_its_own_tenants(self, tenants: Tenants) -> None:
        _, one = await tenants.create_key("one")
        _, two = await tenants.create_key("two")
        assert (await gate(tenants).admit(asked(bearer(one)))).tenant.name == "one"
        assert (await gate(tenants).admit(asked(bearer(two)))).tenant.name == "two"

    @pytest.mark.parametrize(
        "sent",
        [
            [],
            [bearer("")],
            [bearer("cs_wrong")],
            [("x-api-key", "sk-ant-api03-x")],
            [("authorization", "cs_no_scheme")],
            [("x-cacheserver-key", "cs_wrong_place")],
            [("x-api-key", "é")],
            [bearer(ADMIN)],
        ],
    )
    async def test_without_one_of_our_keys_nobody_is_let_in(
        self, tenants: Tenants, sent: list[tuple[str, str]]
    ) -> None:
        await tenants.create_key("acme")
        with pytest.raises(Unauthenticated):
            await gate(tenants).admit(asked(*sent))

    async def test_two_keys_of_ours_are_one_too_many(self, tenants: Tenants) -> None:
        _, one = await tenants.create_key("one")
        _, two = await tenants.create_key("two")
        for sent in (
            [bearer(one), ("x-api-key", two)],
            [bearer(one), bearer(two)],
            [("x-api-key", one), ("x-api-key", two)],
        ):
            with pytest.raises(Unauthenticated):
                await gate(tenants).admit(asked(*sent))


class TestWithTheCallersOwnKey:
    async def test_their_key_goes_to_claude_and_makes_a_tenant_of_its_own(
        self, tenants: Tenants
    ) -> None:
        doors = gate(tenants, "caller")
        one = await doors.admit(asked(bearer("sk-ant-1")))
        same = await doors.admit(asked(("x-api-key", "sk-ant-1")))
        other = await doors.admit(asked(bearer("sk-ant-2")))
        assert one.credential == "sk-ant-1"
        assert one.tenant.name.startswith("default@")
        assert "sk-ant" not in one.tenant.name
        assert "sk-ant" not in repr(one)
        assert same == one
        assert other.tenant.name != one.tenant.name

    async def test_once_there_was_a_key_of_ours_it_is_needed_on_this_machine_too(
        self, tenants: Tenants, clock: Clock
    ) -> None:
        key, _ = await tenants.create_key("acme")
        await tenants.revoke_key(key.id)
        with pytest.raises(Unauthenticated):
            await gate(tenants, "caller").admit(asked(bearer("sk-ant-1")))

    async def test_our_key_says_inside_which_tenant(self, tenants: Tenants) -> None:
        _, acme = await tenants.create_key("acme")
        _, other = await tenants.create_key("other")
        doors = gate(tenants, "caller")
        theirs = bearer("sk-ant-1")
        one = await doors.admit(asked(theirs, ("x-cacheserver-key", acme), client=FAR))
        two = await doors.admit(asked(theirs, ("x-cacheserver-key", other), client=FAR))
        assert one.tenant.name.startswith("acme@")
        assert two.tenant.name.startswith("other@")
        assert one.credential == two.credential == "sk-ant-1"

    @pytest.mark.parametrize(
        ("request_", "error"),
        [
            (asked(), Unauthenticated),
            (asked(bearer("sk-ant-1"), ("x-api-key", "sk-ant-2")), Unauthenticated),
            (asked(bearer("cs_ours")), Unauthenticated),
            (asked(bearer("sk-é")), Unauthenticated),
            (asked(bearer("sk-ant-1"), client=FAR), Unauthenticated),
            (asked(bearer("sk-ant-1"), ("x-cacheserver-key", "cs_no")), Unauthenticated),
            (asked(bearer("sk-ant-1"), ("x-cacheserver-key", "")), Unauthenticated),
            (asked(bearer("sk-ant-1"), host="evil.example"), Forbidden),
            (asked(bearer("sk-ant-1"), ("origin", "https://evil.example")), Forbidden),
        ],
    )
    async def test_what_is_unclear_is_refused(
        self, tenants: Tenants, request_: HTTPConnection, error: type[CallerError]
    ) -> None:
        with pytest.raises(error):
            await gate(tenants, "caller").admit(request_)


class TestTheAdminKey:
    @pytest.mark.parametrize("sent", [bearer(ADMIN), ("x-api-key", ADMIN)])
    async def test_it_opens(self, tenants: Tenants, sent: tuple[str, str]) -> None:
        gate(tenants).admit_admin(asked(sent, client=FAR, host="any.example"))

    @pytest.mark.parametrize(
        "sent", [[], [bearer("no")], [bearer(ADMIN[:-1])], [("x-api-key", "é")], [bearer("")]]
    )
    async def test_nothing_else_does_though_no_key_was_given_out(
        self, tenants: Tenants, sent: list[tuple[str, str]]
    ) -> None:
        with pytest.raises(Unauthenticated):
            gate(tenants).admit_admin(asked(*sent))

    async def test_where_none_is_set_nothing_opens(self, tenants: Tenants) -> None:
        closed = Gate(tenants, credentials="server", admin_key=None)
        for sent in (bearer(""), bearer("None"), bearer(ADMIN)):
            with pytest.raises(Forbidden, match="CACHESERVER_ADMIN_KEY"):
                closed.admit_admin(asked(sent))


@pytest.mark.parametrize("credentials", ["server", "caller"])
@pytest.mark.parametrize(
    "via", ["1.1 cacheserver", "1.0 proxy, 1.1 cacheserver", "HTTP/2 cacheserver (note)"]
)
async def test_a_request_that_came_from_a_cacheserver_is_a_loop(
    tenants: Tenants, via: str, credentials: Literal["server", "caller"]
) -> None:
    with pytest.raises(Loop):
        await gate(tenants, credentials).admit(asked(bearer("sk-ant-1"), ("via", via)))
    twice = asked(bearer("sk-ant-1"), ("via", "1.1 proxy"), ("via", via))
    with pytest.raises(Loop):
        await gate(tenants, credentials).admit(twice)


@pytest.mark.parametrize("via", ["", "1.1 varnish", "1.1 cacheserver.example", "cacheserver"])
async def test_another_proxy_is_no_loop(tenants: Tenants, via: str) -> None:
    assert (await gate(tenants).admit(asked(("via", via)))).tenant.name == "default"


@pytest.mark.parametrize("credentials", ["server", "caller"])
async def test_with_the_store_away_strangers_are_not_let_in(
    credentials: Literal["server", "caller"],
) -> None:
    with ExitStack() as stack:
        client = connect(stack.enter_context(serving(ENGINES["valkey"])), timeout_s=0.5)
        doors = gate(Tenants(client, defaults=Tenant(name="default")), credentials)
    with pytest.raises(Unavailable):
        await doors.admit(asked(bearer("cs_x" if credentials == "server" else "sk-ant-1")))
    await client.aclose()


def test_only_what_is_for_claude_goes_to_claude() -> None:
    sent = {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "a-2026-01-01,b",
        "anthropic-workspace-id": "wrkspc_1",
        "anthropic-user-profile-id": "u",
        "x-claude-code-session-id": "s",
    }
    kept_back = {
        "authorization": "Bearer cs_x",
        "x-api-key": "cs_x",
        "x-cacheserver-key": "cs_x",
        "proxy-authorization": "x",
        "cookie": "a=b",
        "host": "localhost",
        "content-length": "2",
        "accept-encoding": "gzip",
        "connection": "close",
        "transfer-encoding": "chunked",
        "cache-control": "no-store",
        "x-cache-ttl": "5",
        "via": "1.1 proxy",
        "user-agent": "x",
        "x-stainless-lang": "python",
        "x-forwarded-for": "1.2.3.4",
        "traceparent": "00-1",
    }
    assert forwarded({**kept_back, **sent}) == sent


def test_a_beta_header_sent_twice_is_one_list() -> None:
    request = asked(("anthropic-beta", "a"), ("anthropic-beta", "b"))
    assert forwarded(request.headers) == {"anthropic-beta": "a, b"}


@pytest.mark.parametrize("value", ["é", "a\tb", "\x7f"])
def test_a_header_that_http_does_not_carry_is_refused(value: str) -> None:
    with pytest.raises(BadRequest) as refused:
        forwarded(asked(("anthropic-beta", value)).headers)
    assert refused.value.field == "anthropic-beta"


async def test_over_a_real_socket_a_stranger_gets_401_and_a_rebound_name_403(
    tenants: Tenants,
) -> None:
    doors = gate(tenants)
    app = FastAPI()
    errors.install(app)

    async def me(request: Request) -> Response:
        return JSONResponse((await doors.admit(request)).tenant.name)

    app.add_route("/v1/me", me)
    async with serving_app(app) as url, httpx2.AsyncClient(base_url=url) as http:

        async def get(**headers: Any) -> tuple[int, Any]:
            response = await http.get("/v1/me", headers=headers)
            told = response.json()
            return response.status_code, told if isinstance(told, str) else told["error"]["type"]

        assert await get() == (200, "default")
        assert await get(host="evil.example") == (403, "permission_error")
        _, plain = await tenants.create_key("acme")
        assert await get() == (401, "authentication_error")
        assert await get(authorization=f"Bearer {plain}", host="evil.example") == (200, "acme")
