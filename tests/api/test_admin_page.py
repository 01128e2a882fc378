"""Signing in to the admin page: what a session's cookie opens, and what it does not."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from starlette.datastructures import Headers

from cacheserver.api.admin_page.routes import SCREENS
from cacheserver.api.page_assets import FOLDER
from cacheserver.api.page_session import COOKIE, token_of
from cacheserver.api.slowdown import Slowdown
from tests.api.admin import ADMIN
from tests.house import ADMIN_KEY, House


async def sign_in(house: House, key: str = ADMIN_KEY, **headers: str) -> httpx2.Response:
    """Sign in; the house's client keeps the cookie."""
    return await house.http.post("/admin/session", json={"key": key}, headers=headers)


async def create_key(house: House, path: str, **fields: Any) -> dict[str, Any]:
    response = await house.http.post(f"/admin/v1/{path}", headers=ADMIN, json=fields)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def kept_cookie(house: House) -> dict[str, str]:
    """Return the cookie as a header that the client does not forget."""
    return {"cookie": "; ".join(f"{n}={v}" for n, v in house.http.cookies.items())}


def change(token: str | None, **headers: str) -> Mapping[str, str]:
    return headers if token is None else {"x-csrf-token": token, **headers}


async def test_a_session_opens_the_admin_routes_and_changes_with_its_token(house: House) -> None:
    assert (await house.http.get("/admin/session")).json() == {"signed_in": False}
    assert (await house.http.get("/admin/v1/tenants")).status_code == 401
    signed = await sign_in(house)
    cookie = signed.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "secure" not in cookie  # plain http on this machine
    assert (signed.json()["name"], signed.json()["role"]) == ("admin", "all")
    assert ADMIN_KEY not in signed.text + signed.headers["set-cookie"]
    assert (await house.http.get("/admin/v1/tenants")).status_code == 200
    token = signed.json()["csrf_token"]
    for sent in (None, "", "wrong", token[:-1], "é"):
        headers = {} if sent is None else {b"x-csrf-token": sent.encode()}
        refused = await house.http.put("/admin/v1/tenants/acme", json={}, headers=headers)
        assert refused.status_code == 403, sent
    made = await house.http.put("/admin/v1/tenants/acme", json={}, headers=change(token))
    assert made.status_code == 200
    trail = (await house.http.get("/admin/v1/audit-trail")).json()["items"]
    assert [(record["who"], record["tenant"]) for record in trail] == [("admin", "acme")]
    assert (await house.http.delete("/admin/session")).json() == {"signed_in": False}
    assert (await house.http.get("/admin/v1/tenants")).status_code == 401


async def test_a_cookie_that_was_kept_is_worthless_after_signing_out(house: House) -> None:
    await sign_in(house)
    kept = kept_cookie(house)
    await house.http.delete("/admin/session")
    assert (await house.http.get("/admin/v1/tenants", headers=kept)).status_code == 401


async def test_no_cookie_holds_the_server_up(house: House) -> None:
    for value in ('"' + '\\"' * 15_000, "=" * 30_000, ";," * 15_000, f"{COOKIE}=" * 1_500):
        headers = {"cookie": f"{COOKIE}={value}"}
        began = time.process_time()
        assert token_of(Headers(headers)) is None
        assert time.process_time() - began < 0.1  # `http.cookies` takes 1.5 s for the first
        shown = await house.http.get("/admin/session", headers=headers)
        assert shown.json() == {"signed_in": False}
    token = "t" * 43
    for cookie in (f"{COOKIE}={token}", f"a=b; {COOKIE}={token}; c=d", f'a="b";{COOKIE}={token}'):
        assert token_of(Headers({"cookie": cookie})) == token
    for cookie in (f"x{COOKIE}={token}", f"{COOKIE}={token}x", f'{COOKIE}="{token}"'):
        assert token_of(Headers({"cookie": cookie})) is None


async def test_a_session_of_another_version_is_none(house: House) -> None:
    await sign_in(house)
    store = house.parts.host.store
    (key,) = [name async for name in store.redis.scan_iter(f"{store.prefix}adminsession:*")]
    for record in (b"{}", b"not json", b'{"kind": "new", "proof": "", "expires_at": 9e9, "x": 1}'):
        await store.redis.set(key, record)
        assert (await house.http.get("/admin/session")).json() == {"signed_in": False}


async def test_a_form_of_another_page_cannot_sign_in(house: House) -> None:
    body = f'{{"key": "{ADMIN_KEY}"}}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        sent = await house.http.post("/admin/session", content=body, headers={"content-type": kind})
        assert (sent.status_code, sent.json()["error"]["field"]) == (400, "content-type")


async def test_over_tls_the_cookie_stays_on_tls(house: House) -> None:
    signed = await sign_in(house, origin="https://cache.example.com")
    assert "secure" in signed.headers["set-cookie"].lower()


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_sites_page_gets_nothing(house: House, site: str) -> None:
    assert (await sign_in(house, **{"sec-fetch-site": site})).status_code == 403
    token = (await sign_in(house)).json()["csrf_token"]
    headers = {"sec-fetch-site": site, "x-csrf-token": token}
    assert (await house.http.get("/admin/v1/tenants", headers=headers)).status_code == 401
    put = await house.http.put("/admin/v1/tenants/acme", json={}, headers=headers)
    assert put.status_code == 401
    shown = await house.http.get("/admin/session", headers=headers)
    assert shown.json() == {"signed_in": False}


async def test_a_named_keys_session_has_its_role_and_ends_with_it(house: House) -> None:
    key = await create_key(house, "admin-keys", name="ann", role="read")
    token = (await sign_in(house, key["key"])).json()["csrf_token"]
    assert (await house.http.get("/admin/v1/tenants")).status_code == 200
    put = await house.http.put("/admin/v1/tenants/acme", json={}, headers=change(token))
    assert (put.status_code, "`read`" in put.text) == (403, True)
    gone = await house.http.delete(f"/admin/v1/admin-keys/{key['id']}", headers=ADMIN)
    assert gone.status_code == 200
    assert (await house.http.get("/admin/v1/tenants")).status_code == 401
    assert (await house.http.get("/admin/session")).json() == {"signed_in": False}


async def test_a_tenants_session_reads_its_own_data_and_changes_nothing(house: House) -> None:
    keys = {name: await create_key(house, "keys", tenant=name) for name in ("acme", "other")}
    for name, key in keys.items():
        await house.ask(f"What does {name} sell?", key=key["key"])
    signed = await sign_in(house, keys["acme"]["key"])
    assert (signed.json()["tenant"], signed.json()["role"]) == ("acme", None)
    listed = (await house.http.get("/v1/decisions")).json()["items"]
    assert [item["asked"] for item in listed] == ["What does acme sell?"]
    assert (await house.http.get("/admin/v1/decisions")).status_code == 401
    headers = change(signed.json()["csrf_token"])
    body = {"prompt": "Who pays for this?"}
    for method, path, sent in (
        ("POST", "/v1/query", body),
        ("POST", "/v1/purge", {"all": True}),
        ("PUT", "/admin/v1/tenants/acme", {}),
    ):
        refused = await house.http.request(method, path, json=sent, headers=headers)
        assert refused.status_code == 401, path
    assert len(house.asked) == 2
    gone = await house.http.delete(f"/admin/v1/keys/{keys['acme']['id']}", headers=ADMIN)
    assert gone.status_code == 200
    assert (await house.http.get("/v1/decisions")).status_code == 401


async def test_a_key_that_is_sent_counts_and_not_the_cookie(house: House) -> None:
    await sign_in(house)
    sent = await house.http.get("/admin/v1/tenants", headers={"x-api-key": "csa_wrong"})
    assert sent.status_code == 401


async def test_wrong_keys_are_held_up_and_named_fields_are_refused(house: House) -> None:
    wrong = await sign_in(house, "csa_not-a-key")
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    for body in ({}, {"key": 1}, {"key": ""}, {"key": "x" * 5_000}):
        refused = await house.http.post("/admin/session", json=body)
        assert (refused.status_code, refused.json()["error"]["field"]) == (400, "key")
    unknown = await house.http.post("/admin/session", json={"key": "x", "password": "y"})
    assert unknown.json()["error"]["field"] == "password"


async def test_each_wrong_key_of_the_form_takes_longer(tmp_path: Any) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with House.open(tmp_path, slowdown=Slowdown(sleep=sleep)) as house:
        for _ in range(3):
            assert (await sign_in(house, "wrong")).status_code == 401
        assert (await sign_in(house)).status_code == 200
    assert slept == [0.05, 0.1, 0.2]


async def test_a_changed_admin_key_ends_the_sessions_of_the_old_one(tmp_path: Any) -> None:
    async with House.open(tmp_path) as house:
        await sign_in(house)
        kept = kept_cookie(house)
    async with House.open(tmp_path, admin_key="another-admin-key-for-tests") as house:
        assert (await house.http.get("/admin/v1/tenants", headers=kept)).status_code == 401
    async with House.open(tmp_path) as house:
        assert (await house.http.get("/admin/v1/tenants", headers=kept)).status_code == 200


async def test_the_page_allows_its_own_files_alone_and_each_is_kept(house: House) -> None:
    page = await house.http.get("/admin")
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self' 'sha256-")
    imports = re.search(r'<script type="importmap">(.*?)</script>', page.text)
    assert imports is not None
    digest = base64.b64encode(hashlib.sha256(imports[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    for screen in SCREENS:
        assert (await house.http.get(f"/admin/{screen}")).content == page.content
    assert (await house.http.get("/admin/nothing")).status_code == 404
    for path in set(re.findall(r'"(/admin/static/[^"]+)"', page.text)):
        file = await house.http.get(path)
        assert (file.status_code, "immutable" in file.headers["cache-control"]) == (200, True)
        plain = await house.http.get(path, headers={"accept-encoding": "identity"})
        assert plain.content == file.content
        assert (
            await house.http.get(re.sub("static/[0-9a-f]+", "static/0", path))
        ).status_code == 404
        outside = f"{path.rpartition('/')[0]}/%2e%2e/%2e%2e/routes.py"
        assert (await house.http.get(outside)).status_code == 404


def test_the_libraries_are_as_published_and_the_screens_are_the_same_in_both_lists() -> None:
    for line in (FOLDER / "vendor" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest, name
    names = re.findall(r'^  \["([a-z]+)", ', (FOLDER / "app.js").read_text(), re.MULTILINE)
    assert tuple(names) == SCREENS
    written = [f for f in FOLDER.rglob("*.js") if "vendor" not in f.parts]
    for file in written:
        assert not re.search(
            r"innerHTML|insertAdjacentHTML|eval\(|new Function", file.read_text()
        ), file
