"""A job's end is told to whom its caller named, provably, and to nobody inside."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.batching import BatchRules
from cacheserver.webhooks import signing
from cacheserver.webhooks.safe_post import Poster
from tests.batches.house import BatchHouse
from tests.batches.test_batches import until
from tests.batches.test_jobs import HOUR, rules
from tests.house import ADMIN_KEY, serving

HERE = BatchRules(webhook_networks=("127.0.0.0/8",))


@dataclass
class Listener:
    """Where webhooks arrive."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)  # what it says next; then 200
    got: asyncio.Queue[tuple[dict[str, str], bytes]] = field(default_factory=asyncio.Queue)
    location: str = ""

    async def receive(self, request: Request) -> Response:
        await self.got.put((dict(request.headers), await request.body()))
        status = self.statuses.pop(0) if self.statuses else 200
        headers = {"location": self.location} if self.location else {}
        return Response(status_code=status, headers=headers)


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    listener = Listener()
    app = Starlette(routes=[Route("/{path:path}", listener.receive, methods=["GET", "POST"])])
    async with serving(app) as url:
        listener.url = url
        yield listener


async def test_the_end_of_a_job_is_told_signed_and_without_its_words(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house, listening() as listener:
        await rules(house, webhook_networks=HERE.webhook_networks)
        url = f"{listener.url}/hook?a=1"
        taken = (await house.job("How far is the moon?", deadline=HOUR, webhook=url)).json()
        headers, body = await listener.got.get()
        secret = (await house.http.get("/v1/webhooks/secret")).json()["secret"]
        key = base64.b64decode(secret.removeprefix("whsec_"))
        said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        event = json.loads(body)
        assert (event["type"], event["data"]["id"]) == ("job.ended", taken["id"])
        assert event["data"]["counts"]["succeeded"] == 1
        assert b"moon" not in body
        await until(house, lambda: deliver(house, taken["id"], "sent"))


async def test_a_webhook_that_fails_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house, listening() as listener:
        await rules(house, webhook_networks=HERE.webhook_networks)
        listener.statuses = [500, 302, 500, 500]
        listener.location = f"{listener.url}/elsewhere"
        fields: dict[str, Any] = {"deadline": HOUR, "webhook": f"{listener.url}/hook"}
        first = (await house.job("How far is the moon?", **fields)).json()
        ids = set()
        for _ in range(3):  # once, and as often again as the pace says
            headers, _ = await listener.got.get()
            ids.add(headers["webhook-id"])
            house.clock.ahead_s += 1
        assert len(ids) == 1  # by which a receiver knows what it has seen
        await until(house, lambda: deliver(house, first["id"], "failed"))
        assert listener.got.empty()  # a redirect is nobody's address
        stats = await house.parts.decision_log.stats("default")
        assert stats["batch_webhooks_failed"] == 1


async def test_a_name_that_turns_inward_is_not_followed(tmp_path: Path) -> None:
    """DNS rebinding: public when it was asked for, our own machine when it is told."""
    answers = [["93.184.216.34"], ["127.0.0.1"]]
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked) - 1, 1)]

    async with BatchHouse.start(tmp_path, resolve=resolve) as house, listening() as listener:
        port = listener.url.rsplit(":", 1)[1]
        url = f"https://hooks.example.com:{port}/"
        taken = await house.job("How far is the moon?", deadline=HOUR, webhook=url)
        id = taken.json()["id"]
        await house.ended(id)
        for _ in range(3):
            house.clock.ahead_s += 1
            await house.batching.changed()
        await until(house, lambda: deliver(house, id, "failed"))
        assert listener.got.empty()
        assert set(asked) == {"hooks.example.com"}


async def test_the_connection_goes_to_the_address_that_was_checked(tmp_path: Path) -> None:
    """No name server knows this name: whoever resolved it again would get nowhere."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with BatchHouse.start(tmp_path, resolve=resolve) as house, listening() as listener:
        await rules(house, webhook_networks=HERE.webhook_networks)
        port = listener.url.rsplit(":", 1)[1]
        url = f"http://hooks.invalid:{port}/hook"
        await house.job("How far is the moon?", deadline=HOUR, webhook=url)
        headers, _ = await listener.got.get()
        assert headers["host"] == f"hooks.invalid:{port}"


async def test_a_batch_may_name_a_webhook_in_a_header(tmp_path: Path) -> None:
    from tests.batches.house import item

    async with BatchHouse.start(tmp_path) as house, listening() as listener:
        await rules(house, webhook_networks=HERE.webhook_networks)
        made = await house.http.post(
            "/v1/messages/batches",
            json={"requests": [item("a")]},
            headers={"x-cache-webhook": listener.url},
        )
        _, body = await listener.got.get()
        assert json.loads(body)["data"]["id"] == made.json()["id"]
        refused = await house.http.post(
            "/v1/messages/batches",
            json={"requests": [item("a")]},
            headers={"x-cache-webhook": "https://10.0.0.1/"},
        )
        assert refused.status_code == 400
        assert "`x-cache-webhook`" in refused.text


async def test_tenants_sign_with_different_secrets_and_an_epoch_makes_a_new_one(
    tmp_path: Path,
) -> None:
    async with BatchHouse.start(tmp_path) as house:
        before = (await house.http.get("/v1/webhooks/secret")).json()
        await rules(house, webhook_epoch=1)
        after = (await house.http.get("/v1/webhooks/secret")).json()
        key = await house.key("other")
        headers = {"x-api-key": key}
        other = (await house.http.get("/v1/webhooks/secret", headers=headers)).json()
        assert len({each["secret"] for each in (before, after, other)}) == 3


async def deliver(house: BatchHouse, id: str, how: str) -> bool:
    job = await house.batching.jobs.find(id)
    return job is not None and job.webhook_state == how


async def test_an_unknown_host_and_an_internal_one_are_refused_in_the_same_words(
    tmp_path: Path,
) -> None:
    """Else the difference tells which names an internal network has."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        if host == "unknown.example.com":
            raise OSError("no such name")
        return {"none.example.com": []}.get(host, ["10.0.0.7"])

    hosts = ("unknown.example.com", "inside.example.com", "none.example.com")
    literals = ("10.0.0.7", "[::127.0.0.1]", "192.0.0.192", "2130706433", "a..b", f"{'a' * 64}.com")
    async with BatchHouse.start(tmp_path, resolve=resolve) as house:
        said = set()
        for host in (*hosts, *literals):
            url = f"https://{host}/hook"
            by_job = await house.job("How far is the moon?", deadline=HOUR, webhook=url)
            by_alert = await house.http.put(
                "/admin/v1/tenants/acme",
                json={"budgets": {"alerts": {"webhook": url}}},
                headers={"x-api-key": ADMIN_KEY},
            )
            for refused, field in ((by_job, "webhook"), (by_alert, "budgets.alerts.webhook")):
                assert refused.status_code == 400
                message = refused.json()["error"]["message"]
                assert message.startswith(f"`{field}`: ")
                said.add(message.removeprefix(f"`{field}`: "))
        assert len(said) == 1


async def test_an_endless_answer_is_not_read() -> None:
    """Nor is a slow one waited for: a status is all that is wanted."""

    async def endless(request: Request) -> Response:
        async def flood() -> Any:
            while True:
                yield b"x" * 65_536
                await asyncio.sleep(0)  # once nobody reads, nothing else lets the others in

        return StreamingResponse(flood())

    app = Starlette(routes=[Route("/", endless, methods=["POST"])])
    poster = Poster()
    async with serving(app) as url:
        try:
            assert await poster.post(url, b"{}", {}, HERE) is None
        finally:
            await poster.close()


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("192.0.0.192", "192.0.0.9", "198.18.0.1", "192.88.99.1", "192.31.196.1", "192.52.193.1"),
        *("192.175.48.1", "198.51.100.1", "203.0.113.1", "239.1.1.1"),
        *("::127.0.0.1", "::10.0.0.1", "::93.184.216.34", "64:ff9b::5db8:d822", "64:ff9b:1::1"),
        *("::ffff:0:127.0.0.1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:20::1", "100::1"),
        *("3fff::1", "5f00::1", "2620:4f:8000::1", "fec0::1", "ff0e::1", "4000::1", "2001:1::1"),
        *("100.64.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("64:ff9b::7f00:1", "2002:7f00:1::", "2001::1", "2001:db8::1", "fe80::1%eth0"),
        *("not an address", ""),
    ],
)
def test_no_address_of_ours_is_reached(address: str) -> None:
    target = signing.read_target("webhook", "https://hooks.example.com/", BatchRules())
    assert not signing.all_allowed(target, [address], BatchRules())
    assert not signing.all_allowed(target, ["93.184.216.34", address], BatchRules())


def test_public_addresses_are_reached_and_private_ones_where_allowed() -> None:
    target = signing.read_target("webhook", "https://hooks.example.com/", BatchRules())
    assert signing.all_allowed(target, ["93.184.216.34", "2606:2800:220:1::1"], BatchRules())
    assert not signing.all_allowed(target, [], BatchRules())
    inside = BatchRules(webhook_networks=("10.1.0.0/16",))
    assert signing.all_allowed(target, ["10.1.2.3"], inside)
    assert signing.all_allowed(target, ["::ffff:10.1.2.3"], inside)
    assert not signing.all_allowed(target, ["10.2.2.3"], inside)
    plain = signing.read_target("webhook", "http://hooks.example.com/", inside)
    assert signing.all_allowed(plain, ["10.1.2.3"], inside)
    assert not signing.all_allowed(
        plain, ["93.184.216.34"], inside
    )  # plain http, through the world


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.0.0.1", "0", "1.2.3.4.5"),
        *("127.0.0.1.", "10.0.0.1", "256.1.1.1", "08.1.1.1", "example.0x1f", "a.1", "0x"),
        *("[::1]", "[::127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1%25eth0]", "[fe80::1%eth0]"),
        *("a..b", ".example.com", "example.com..", "-a.example", "%31%30.0.0.1", "a" * 64),
        *("a:0", "user@example.com", ":@example.com", "@example.com", "ex\u00e4mple.com"),
        *("\uff11\uff12\uff17.0.0.1", "example\u3002com", "\u2460.example", f"{'a.' * 127}com"),
    ],
)
def test_no_spelling_of_an_address_and_no_other_host_is_read(host: str) -> None:
    with pytest.raises(BadRequest):
        signing.read_target("webhook", f"https://{host}/", BatchRules())


@given(st.ip_addresses(v=4), st.sampled_from([None, 16, 8, 10]))
def test_no_number_is_a_host_unless_it_is_a_public_address(
    address: IPv4Address, base: int | None
) -> None:
    numbers = {None: str(address), 16: hex(int(address)), 8: f"0{int(address):o}"}
    host = numbers.get(base, str(int(address)))
    try:
        target = signing.read_target("webhook", f"https://{host}/", BatchRules())
    except BadRequest:
        return
    assert base is None or host == str(address)
    assert address.is_global
    assert target.host == str(address)


@given(st.ip_addresses(v=4))
def test_an_address_inside_an_ipv6_one_opens_nothing_but_the_mapped_one(
    address: IPv4Address,
) -> None:
    target = signing.read_target("webhook", "https://hooks.example.com/", BatchRules())
    number = int(address)
    carried = [number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]
    carried += [0x2001 << 112 | number << 64 | (~number & 0xFFFFFFFF), 0xFFFF << 48 | number]
    for whole in carried:
        assert not signing.all_allowed(target, [str(IPv6Address(whole))], BatchRules())
    mapped = signing.all_allowed(target, [f"::ffff:{address}"], BatchRules())
    assert mapped == signing.all_allowed(target, [str(address)], BatchRules())


def test_hosts_may_be_listed() -> None:
    listed = BatchRules(webhook_hosts=("hooks.example.com", "*.corp.example"))
    for url in (
        "https://hooks.example.com/",
        "https://HOOKS.example.com./x",
        "https://a.corp.example",
    ):
        signing.read_target("webhook", url, listed)
    for url in (
        "https://example.com/",
        "https://corp.example/",
        "https://evilcorp.example/",
        "https://hooks.example.com.evil.example/",
        "https://hooks.example.com@evil.example/",
    ):
        with pytest.raises(BadRequest):
            signing.read_target("webhook", url, listed)


@example("HTTPS://.")
@given(st.text(max_size=60) | st.from_regex(r"https?://[\x20-\x7e]{0,40}", fullmatch=True))
def test_whatever_is_sent_as_an_address_is_read_or_refused(url: str) -> None:
    try:
        target = signing.read_target("webhook", url, BatchRules())
    except BadRequest:
        return
    assert target.secure
    assert target.host
    assert "\r" not in target.path
    assert "\n" not in target.path


@given(st.binary(max_size=50), st.integers(0, 2**40), st.binary(max_size=50))
def test_a_signature_is_of_this_body_and_this_moment(body: bytes, at: int, other: bytes) -> None:
    secret = signing.derive_secret(b"root", "tenant", 0)
    own: Any = signing.sign(secret, "evt_1", at, body)
    changed = signing.sign(secret, "evt_1", at, other)
    assert (own == changed) == (body == other)
    assert (
        own["webhook-signature"] != signing.sign(secret, "evt_1", at + 1, body)["webhook-signature"]
    )
