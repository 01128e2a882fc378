"""Bars, names and pairs that make no sense or do not exist: a 400 that says what does."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2

from cacheserver.matching.language import VETO_NAMES
from tests.house import ADMIN_KEY, House

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PARIS = "What is the capital of France?"
LESS_ALIKE = "Which city is the capital of the country France?"
BARS = "/admin/v1/tenants/default/bars"


async def put(house: House, path: str, **fields: Any) -> None:
    response = await house.http.put(path, headers=ADMIN, json=fields)
    assert response.status_code == 200, response.text


async def test_a_bar_that_makes_no_sense_is_400(house: House) -> None:
    shares = {"target": ("0", "0.51", "-1", "nan", "x", ""), "probability": ("0", "2", "nan")}
    shares["similarity"] = ("0", "1.01", "inf")
    for field, values in shares.items():
        for value in values:
            path = f"/admin/v1/tenants/default/shadow?{field}={value}"
            refused = await house.http.get(path, headers=ADMIN)
            assert refused.status_code == 400, path
            assert f"`{field}`" in refused.json()["error"]["message"]


async def test_a_target_that_makes_no_sense_is_400_wherever_it_is_given(house: House) -> None:
    pairs = [{"query_a": "a", "query_b": "b", "label": 1}]
    refused_ones: list[Any] = [0, 0.50001, -0.1, 1, True, "x", None, [], 10**400, "$huge"]
    for target in refused_ones:
        for path, asked in (
            ("/admin/v1/calibrate", {"pairs": pairs, "target": target}),
            (BARS, {"bar": {"target": target}}),
        ):
            method = "PUT" if path == BARS else "POST"
            body = json.dumps(asked).replace('"$huge"', "1e400").encode()
            refused = await house.http.request(method, path, headers=ADMIN, content=body)
            assert refused.status_code == 400, (path, target)


async def test_a_bar_in_a_scope_that_nothing_was_asked_in_is_400(house: House) -> None:
    answer = await house.ask(PARIS)
    path = f"/v1/decisions/{answer.headers['x-cache-decision']}"
    scope = (await house.http.get(path)).json()["scope"]
    for unknown in ("zz", "ab" * 32, scope.upper(), scope[:-1]):
        given = {"level": "scope", "name": unknown, "bar": {"target": 0.1}}
        refused = await house.http.put(BARS, headers=ADMIN, json=given)
        assert refused.status_code == 400, unknown
    settings = {"scope_bars": {"ab" * 32: {"target": 0.1}}}
    refused = await house.http.put("/admin/v1/tenants/default", headers=ADMIN, json=settings)
    assert refused.status_code == 400
    for bar in ({"target": 0.1}, None):
        await put(house, BARS, level="scope", name=scope, bar=bar)
    assert (await house.http.get(BARS, headers=ADMIN)).json()["scopes"] == {}


async def test_another_tenants_scope_is_400_with_the_tenants_own(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    scopes = []
    for key in (one, two):
        for text in (PARIS, LESS_ALIKE):  # the second turns on a similarity, and is listed
            answer = await house.ask(text, key=key)
        path = f"/v1/decisions/{answer.headers['x-cache-decision']}"
        shown = await house.http.get(path, headers={"x-api-key": key})
        scopes.append(shown.json()["scope"])
    given = {"level": "scope", "name": scopes[1], "bar": {"target": 0.1}}
    refused = await house.http.put("/admin/v1/tenants/one/bars", headers=ADMIN, json=given)
    message = await refusal(refused, "`name`: there is no scope")
    assert message.endswith(f"known: {scopes[0]}")
    settings = {"scope_bars": {scopes[1]: {"target": 0.1}}}
    refused = await house.http.put("/admin/v1/tenants/one", headers=ADMIN, json=settings)
    assert (await refusal(refused, "`scope_bars`: there is no scope")).endswith(scopes[0])
    await put(house, "/admin/v1/tenants/two/bars", **given)


async def refusal(response: httpx2.Response, told: str) -> str:
    assert response.status_code == 400, response.text
    message = response.json()["error"]["message"]
    assert isinstance(message, str)
    assert told in message
    return message


async def test_a_veto_that_does_not_exist_is_400_with_those_that_do(house: House) -> None:
    bar = {"similarity": 0.9, "vetoes_off": ["antonym", "antonyms"]}
    for path, given in (
        (BARS, {"bar": bar}),
        (BARS, {"bar": bar, "dry_run": True}),
        ("/admin/v1/tenants/default", {"bar": bar}),
        ("/admin/v1/tenants/default", {"namespace_bars": {"faq": bar}}),
    ):
        refused = await house.http.put(path, headers=ADMIN, json=given)
        message = await refusal(refused, "there is no veto 'antonyms'")
        assert f"known: antonym, {sorted(set(VETO_NAMES) - {'antonym'})[0]}" in message
        assert message.endswith(f"and {len(VETO_NAMES) - 10} more")
    for value in (3, None, ["antonym"]):
        given = {"bar": {"similarity": 0.9, "vetoes_off": [value]}}
        assert (await house.http.put(BARS, headers=ADMIN, json=given)).status_code == 400


async def test_a_namespace_that_nothing_was_asked_in_is_400_until_it_is_declared(
    house: House,
) -> None:
    given = {"level": "namespace", "name": "faq", "bar": {"target": 0.1}}
    for more in ({}, {"dry_run": True}):
        refused = await house.http.put(BARS, headers=ADMIN, json={**given, **more})
        assert (await refusal(refused, "no namespace 'faq'")).endswith("known: default")
    await house.ask(PARIS, headers={"x-cache-namespace": "faq"})
    await put(house, BARS, **given)
    rules = [{"namespace": "legal", "max_ttl_s": 60}]
    await put(house, "/admin/v1/tenants/default", ttl_rules=rules)
    await put(house, BARS, **{**given, "name": "legal"})
    gone = {"level": "namespace", "name": "legal", "bar": None}
    await put(house, BARS, **gone)
    refused = await house.http.put(BARS, headers=ADMIN, json=gone)
    assert (await refusal(refused, "no bar of a namespace 'legal'")).endswith("known: faq")


def _filled(path: str, tenant: str) -> str:
    """A route's path with `tenant` where it takes one, and something well-formed for the rest."""
    for name, value in {"id": "0" * 32, "task": "faq"}.items():
        path = path.replace(f"{{{name}}}", value)
    return re.sub(r"\{(name|tenant)\}", tenant, path)


async def _naming(house: House, tenant: str) -> list[tuple[str, str, Any]]:
    """Every request of the OpenAPI for admins that names a tenant, but for those that make one."""
    described = (await house.http.get("/openapi.json")).json()
    bodies: dict[tuple[str, str], Any] = {
        ("put", "/admin/v1/tenants/{name}/bars"): {"bar": {"target": 0.1}},
        ("put", "/admin/v1/routing/{tenant}/thresholds"): {"task": "faq", "tier": "low"},
        ("post", "/admin/v1/prompts/{tenant}/carry-over"): {"from": "0" * 32, "to": "1" * 32},
        ("post", "/admin/v1/purge"): {"tenant": tenant},
        ("post", "/admin/v1/tenants/{name}/bars/undo"): {},
        ("delete", "/admin/v1/tenants/{name}"): {"confirm": "not yet"},
        ("post", "/admin/v1/imports/{tenant}/{id}/records"): {"first": 0, "records": []},
    }
    found = []
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            asked = {one["name"] for one in route.get("parameters", ())}
            # The trail keeps what was done to a tenant that is gone.
            trail = path == "/admin/v1/audit-trail"
            in_query = "tenant" in asked and "{tenant}" not in path and not trail
            in_path = re.match(r"/admin/v1/.*\{(name|tenant)\}", path) is not None
            if in_path or in_query or (method, path) in bodies:
                filled = _filled(path, tenant) + (f"?tenant={tenant}" if in_query else "")
                found.append((method.upper(), filled, bodies.get((method, path))))
    makes = ("PUT", f"/admin/v1/tenants/{tenant}", None)
    assert makes in found
    return [one for one in found if one != makes]


async def test_a_tenant_that_does_not_exist_is_400_with_those_that_do(house: House) -> None:
    await house.key("shop")
    asked = await _naming(house, "shpo")
    assert len(asked) >= 28, asked
    export = ("GET", "/v1/usage/export?tenant=shpo", None)  # which reads its parameters itself
    for method, path, body in [*asked, export]:
        refused = await house.http.request(method, path, headers=ADMIN, json=body)
        message = await refusal(refused, "`tenant`: there is no tenant 'shpo'")
        assert message.endswith("known: shop, default"), path  # the nearest first
    await put(house, "/admin/v1/tenants/shpo")  # put, it exists
    for method, path, body in [*asked, export]:
        taken = await house.http.request(method, path, headers=ADMIN, json=body)
        assert "there is no tenant" not in taken.text, path
        assert taken.status_code < 500, path


async def test_the_tenant_that_is_open_without_keys_is_known_before_it_asks(house: House) -> None:
    for method, path, body in await _naming(house, "default"):
        taken = await house.http.request(method, path, headers=ADMIN, json=body)
        assert "there is no tenant" not in taken.text, path


async def test_what_a_tenant_left_behind_can_be_seen_and_purged(house: House) -> None:
    key, plain = await house.parts.tenants.create_key("gone")
    await house.ask(PARIS, key=plain)
    await house.parts.tenants.revoke_key(key.id)
    assert "gone" not in await house.parts.tenants.names()
    for path in (
        "/admin/v1/stats?tenant=gone",
        "/v1/usage?tenant=gone",
        "/admin/v1/tenants/gone/bars",
    ):
        assert (await house.http.get(path, headers=ADMIN)).status_code == 200, path
    purged = await house.http.post("/admin/v1/purge", headers=ADMIN, json={"tenant": "gone"})
    assert purged.json() == {"purged": 1}
    for given in ({}, {"tenant": 3}, {"tenant": "no name"}):
        refused = await house.http.post("/admin/v1/purge", headers=ADMIN, json=given)
        await refusal(refused, "`tenant`: must be 1 to 64")


async def test_a_caller_reads_the_field_they_wrote(house: House) -> None:
    for given, field in (
        ({"level": "scope", "name": "zz", "bar": {"target": 0.1}}, "name"),
        ({"level": "scope", "name": "zz", "bar": None}, "name"),
        ({"level": "scope", "bar": {"target": 0.1}}, "name"),
        ({"level": "namespace", "name": "a b", "bar": {"target": 0.1}}, "name"),
        ({"level": "namespace", "name": "default", "bar": {"target": 2}}, "bar.target"),
        ({"level": "scope", "name": "ab" * 32, "bar": {"top_k": 0, "target": 0.1}}, "bar.top_k"),
        ({"level": "room", "bar": {"target": 0.1}}, "level"),
        ({"level": "namespace", "name": "default"}, "bar"),  # forgotten, and no wish to remove it
        ({"bar": {"target": 0.1, "similarity": 0.9}}, "bar"),
        ({"bar": {"top_k": 3}}, "bar"),
    ):
        refused = await house.http.put(BARS, headers=ADMIN, json=given)
        await refusal(refused, f"`{field}`: ")
    settings = {"scope_bars": {"zz": {"target": 0.1}}}
    refused = await house.http.put("/admin/v1/tenants/default", headers=ADMIN, json=settings)
    await refusal(refused, "`scope_bars.zz`: ")


async def test_a_field_that_does_not_exist_is_400_with_those_that_do(house: House) -> None:
    refused = await house.http.put(BARS, headers=ADMIN, json={"baar": {"target": 0.1}})
    assert "bar, cursor, dry_run" in await refusal(refused, "no field 'baar'")
    refused = await house.http.put(BARS, headers=ADMIN, json={"bar": {"simmilarity": 0.1}})
    assert "known: similarity, audit_share" in await refusal(refused, "no field 'simmilarity'")
    path = "/admin/v1/tenants/default/shadow?tarjet=0.1"
    refused = await house.http.get(path, headers=ADMIN)
    await refusal(refused, "`tarjet`: there is no field")


async def test_a_dry_run_is_asked_for_by_true_or_false(house: House) -> None:
    given = {"bar": {"similarity": 0.9}, "dry_run": "yes"}
    refused = await house.http.put(BARS, headers=ADMIN, json=given)
    assert refused.status_code == 400
    assert "`dry_run`" in refused.json()["error"]["message"]


async def test_a_malformed_pair_file_is_400_with_its_line(house: House) -> None:
    for tsv, told in {
        "query_a\tquery_b\tlabel\n\nx\ty\t2": "line 3: `label`",
        "\nquery_a\tquery_b\nx\ty": "line 2 has no column `label`",
        "query_a\tquery_b\tlabel\nx\ty": "line 2 has 2 cells",
        "query_a\tquery_b\tlabel\nx\t \t1": "line 2: `query_b`",
    }.items():
        refused = await house.http.post("/admin/v1/calibrate", headers=ADMIN, json={"tsv": tsv})
        assert refused.status_code == 400
        assert told in refused.json()["error"]["message"]


async def test_a_pair_whose_label_is_no_label_is_400(house: House) -> None:
    for label in (True, 2, 1.5, None, "yes", [1]):
        pairs = [{"query_a": "a", "query_b": "b", "label": label}]
        refused = await house.http.post("/admin/v1/calibrate", headers=ADMIN, json={"pairs": pairs})
        assert refused.status_code == 400
        assert "`pairs.0.label`" in refused.json()["error"]["message"]
