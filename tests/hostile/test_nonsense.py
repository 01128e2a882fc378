"""Every route, with nonsense in every field: what is wrong with a request is never a 500."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from cacheserver.api.slowdown import Slowdown
from cacheserver.core.rules.declared import DeclaredRules
from tests.hostile.raw import body_of
from tests.house import ADMIN_KEY, House

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUGE = 2**70
SURROGATE = "\ud800"
NESTED: Any = "x"
for _ in range(190):
    NESTED = [NESTED]
NONSENSE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 1e308, HUGE, -HUGE, 2**63, "", "x", "\x00", SURROGATE, "9" * 5_000),
    *([], [[]], [{}], [None], [HUGE], [SURROGATE], {}, {"": None}, {"x": [[]]}, {SURROGATE: 1}),
    NESTED,
)

RULES = {
    "default_ttl_s": 60,
    "max_ttl_s": 60,
    "stale_s": 0,
    "ttl_rules": [{"namespace": "n", "default_ttl_s": 1}],
    "bar": {"similarity": 0.9, "top_k": 5, "vetoes_off": ["order"], "audit_share": 0.1},
    "namespace_bars": {"n": {"target": 0.1}},
    "scope_bars": {},
    "semantic": True,
    "match_code": False,
    "shadow": False,
    "corroborate": False,
    "actors": "named",
    "routing_epoch": 0,
    "volatility": {},
    "routing": {},
    "budgets": {"enabled": True, "usd_per_day": 1.0, "alerts": {}},
    "batching": {},
    "lengths": {},
    "caching": {},
    "validation": {},
    "history": {},
    "declared": {"enabled": True, "require_context": True},
}
ASKED = {
    "prompt": "hi",
    "system": "s",
    "model": "auto",
    "max_tokens": 5,
    "ttl_s": 1,
    "tags": ["t"],
    "namespace": "n",
    "cache": "default",
    "stream": False,
    "task": "chat",
    "requires_deep_analysis": False,
    "conversation": "c",
    "actor": "a",
    "question": "q",
    "context": ["kb@v1"],
    "context_blocks": ["messages.-1", "system.0"],
    "schema": {"type": "object"},
    "levers_off": ["output-cap"],
    "check": {"schema": {"type": "object"}, "json": True, "one_of": ["x"], "contains": ["x"]},
}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "enum": [1],
    "anyOf": [{}],
    "$ref": "#/x",
    "items": {},
    "minimum": 1,
}
MESSAGE = {
    **body_of("hi"),
    "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
    "tools": [{"name": "t", "input_schema": {"type": "object"}}],
    "metadata": {"user_id": "u"},
    "thinking": {"type": "disabled"},
    "stop_sequences": ["x"],
    "tool_choice": {"type": "auto"},
    "temperature": 1,
    "service_tier": "auto",
    "speed": "standard",
    "stream": False,
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
}
TURNS = {
    "model": "auto",
    "max_tokens": 5,
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "i", "name": "t", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "i",
                    "content": [{"type": "text", "text": "x"}],
                },
                {"type": "image", "source": {"type": "url", "url": "https://x.example"}},
            ],
        },
    ],
}
BODIES: dict[str, list[dict[str, Any]]] = {
    "POST /v1/messages": [MESSAGE, TURNS],
    "POST /v1/messages/count_tokens": [body_of("hi")],
    "POST /v1/messages/batches": [{"requests": [{"custom_id": "a", "params": MESSAGE}]}],
    "POST /v1/query": [ASKED, {"prompt": "hi", "check": {"schema": SCHEMA}}],
    "PUT /v1/entries": [
        {"prompt": "hi", "answer": "a", "tags": ["t"], "ttl_s": 5, "namespace": "n", "task": "chat",
         "schema": {"type": "object"}, "system": "s", "actor": "a", "max_tokens": 5},
        {"messages": TURNS["messages"], "answer": "a", "question": "q", "context": ["kb@v1"],
         "context_blocks": ["messages.-1"], "requires_deep_analysis": False, "tenant": None},
    ],
    "POST /v1/agents": [{"name": "x", "skills": [{"skill_id": "skill_0123456789"}]}],
    "POST /v1/jobs": [
        {"prompt": "hi", "deadline": 60, "webhook": "https://x.example", "when": "batch"}
    ],
    "POST /v1/purge": [{"tag": "t"}, {"entry_id": "x"}, {"namespace": "n"}],
    "POST /v1/feedback": [{"verdict": "bad", "decision_id": "dec_0", "entry_id": "x"}],
    "POST /v1/lint": [MESSAGE, TURNS],
    "POST /v1/estimate": [
        MESSAGE,
        {"requests": [{"params": body_of("hi")}]},
        {"model": "claude-haiku-5-5", "requests": 5, "input_tokens": 5, "output_tokens": 5,
         "prefix_tokens": 1, "ttl": "5m", "reused": 0.5, "answered": 0.5, "batch": False},
    ],
    "PUT /admin/v1/tenants/{name}": [RULES],
    "PUT /admin/v1/tenants/{name}/bars": [
        {"level": "scope", "name": "0" * 64, "bar": {"target": 0.1}, "who": "me"},
        {"level": "tenant", "bar": {"similarity": 0.9, "vetoes_off": []}, "dry_run": True,
         "limit": 5, "cursor": "x"},
    ],
    "POST /admin/v1/calibrate": [
        {"pairs": [{"query_a": "a", "query_b": "b", "label": 1}], "target": 0.1},
        {"tsv": "a\tb\tc"},
    ],
    "POST /admin/v1/imports": [
        {"tenant": "default", "kind": "answers", "source": "f", "request": MESSAGE, "tags": ["t"],
         "headers": {"x-cache-namespace": "n"}, "ttl_s": 5, "curated": True, "replace": True},
        {"tenant": "default", "kind": "calls", "curated": False},
    ],
    "POST /admin/v1/keys": [{"tenant": "t", "label": "l"}],
    "POST /admin/v1/tenants/default/ttl-check": [
        {"namespace": "n", "task": "t", "tags": ["t"], "model": "m", "ttl_s": 5, "question": "q"}
    ],
    "PUT /admin/v1/tenants/default/alerts/silence": [
        {"kind": "errors", "until": 60, "reason": "x"}
    ],
    "POST /admin/v1/alerts/acknowledge": [{"id": "x", "reason": "x"}],
    # Small enough that no mutation of theirs stops the server that the other bodies are sent to.
    "PUT /admin/v1/settings": [{"top_k": 5, "judge_share": 0.2, "log_level": "info"}],
    "PUT /admin/v1/prices": [
        {"prices": {"m": {"input": 1, "fast": {"input": 1}, "long_prompts": {"9": {"input": 1}}}}}
    ],
    "PUT /admin/v1/entries/default/x/ttl": [
        {"ttl_s": 60, "beyond_maximum": True},
        {"ttl_s": "longest"},
    ],
    "PUT /admin/v1/entries/default/x/answer": [{"text": "x", "ttl_s": 60, "beyond_maximum": True}],
    "POST /admin/v1/routing/default/what-if": [
        {"routing": {"levels": {"simple": "high"}, "tasks": {"code": {"tier": "low"}}}, "limit": 5}
    ],
    "POST /admin/v1/purge": [
        {"tenant": "default", "tag": "t"},
        {"model": "m", "text": "x", "older_than_s": 5, "hits_min": 1, "pinned": True,
         "scope": "0" * 64, "namespace": "n", "dry_run": True, "confirm": "x"},
    ],
}  # fmt: skip
# What ends another test's house, or is no JSON.
LEFT_OUT = {"GET /v1/jobs/{id}/events", "GET /admin/v1/live"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    # Each wrong key is held up longer than the last, and here there are hundreds.
    slowdown = Slowdown(sleep=lambda _: asyncio.sleep(0))
    async with House.open(tmp_path_factory.mktemp("nonsense"), slowdown=slowdown) as house:
        _, key = await house.parts.tenants.create_key("default", role="write")
        house.http.headers["x-api-key"] = key  # the tests make others
        tenant = await house.parts.tenants.get("default")
        declared = DeclaredRules(enabled=True)
        await house.parts.tenants.put(replace(tenant, declared=declared))
        yield house


def spoilt(value: Any) -> Iterator[Any]:
    """The value with each part of it, at every depth, replaced by each piece of nonsense."""
    yield from NONSENSE
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
            for part in spoilt(value[key]):
                yield {**value, key: part}
        yield {**value, "unheard_of": 1}
    elif isinstance(value, list):
        for at, one in enumerate(value):
            for part in spoilt(one):
                yield [*value[:at], part, *value[at + 1 :]]


async def routes(house: House) -> dict[str, dict[str, Any]]:
    found = (await house.http.get("/openapi.json")).json()["paths"]
    return {
        f"{method.upper()} {path}": about
        for path, methods in found.items()
        for method, about in methods.items()
    }


def headers_for(path: str) -> dict[str, str]:
    return {"x-api-key": ADMIN_KEY} if path.startswith(("/admin", "/metrics")) else {}


@pytest.mark.parametrize("route", sorted(BODIES))
async def test_no_field_of_a_body_is_a_500(house: House, route: str) -> None:
    method, path = route.split(" ")
    url = path.replace("{name}", "default")
    headers = {**headers_for(path), "content-type": "application/json"}
    for base in BODIES[route]:
        for body in spoilt(copy.deepcopy(base)):
            raw = json.dumps(body)
            answer = await house.http.request(method, url, content=raw, headers=headers)
            assert answer.status_code < 500, (answer.text, raw[:300])
    async with asyncio.timeout(30):  # a row that cannot be written would stop all after it
        while house.parts.ledger.waiting:  # of work behind the answers, too
            await house.parts.ledger.flush()
    assert house.parts.ledger.failures == 0


@pytest.mark.timeout(300)  # thousands of requests; 20 s on an idle machine
async def test_no_parameter_is_a_500(house: House) -> None:
    said = ["", "x", "-1", str(HUGE), "1e999", "nan", "%00", "%ff", "%ed%a0%80", "9" * 5_000, "a,a"]
    for route, about in (await routes(house)).items():
        method, path = route.split(" ")
        if route in LEFT_OUT:
            continue
        names = [one["name"] for one in about.get("parameters", ()) if one["in"] == "query"]
        plain = re.sub(r"\{[^}]*\}", "x", path)
        for piece in said:
            urls = [re.sub(r"\{[^}]*\}", piece or "%20", path)]
            urls += [f"{plain}?{name}={piece}" for name in (*names, "unheard_of")]
            for url in urls:
                request = house.http.build_request(
                    method, house.url + "/", headers=headers_for(path)
                )
                request.url = request.url.copy_with(raw_path=url.encode()[:60_000])
                answer = await house.http.send(request)
                assert answer.status_code < 500, (method, url[:200], answer.text)


def is_described(route: str, described: Collection[str]) -> bool:
    """Return whether the description has a route, whose ids are written out in `BODIES`."""
    return any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one), route) for one in described)


HEADERS = (
    *("x-cache-ttl", "x-cache-tags", "x-cache-namespace", "x-cache-task", "x-cache-off"),
    *("x-cache-question", "x-cache-context", "x-cache-context-blocks"),
    *("x-cache-check", "x-cache-actor", "x-cache-webhook", "x-cache-deep-analysis"),
    *("cache-control", "anthropic-version", "anthropic-beta", "traceparent", "accept"),
    *("content-type", "content-encoding", "via", "origin", "x-cacheserver-key", "x-cache-unheard"),
)
DEEP = '{"schema":' + '{"not":' * 600 + "true" + "}" * 601


@pytest.mark.parametrize("name", HEADERS)
async def test_no_header_is_a_500(house: House, name: str) -> None:
    values = ["", "x", "\xe9", str(HUGE), "{}", DEEP, '{"schema":{"type":[[]]}}', "[" * 3_000]
    values += ['{"schema":{"a":NaN}}', '{"min_chars":1e999}', '{"one_of":[[]]}', ",,,", "=" * 9_000]
    for value in values:
        for path, body in (("/v1/messages", body_of("hi")), ("/v1/query", {"prompt": "hi"})):
            sent = [(name.encode(), value.encode("latin-1"))]
            answer = await house.http.post(path, json=body, headers=sent)
            assert answer.status_code < 500 or name == "via", (value[:80], answer.text)


async def test_every_page_has_a_head(house: House) -> None:
    for path in ("/healthz", "/readyz", "/v1/models", "/v1/stats", "/openapi.json", "/docs"):
        whole = await house.http.get(path, headers=headers_for(path))
        head = await house.http.head(path, headers=headers_for(path))
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
    assert (await house.http.head("/v1/messages")).status_code == 405


async def test_every_route_is_described(house: House) -> None:
    """With who is let in, and with errors of the one shape that all have."""
    described = await routes(house)
    for path in ("messages", "messages/count_tokens", "messages/batches", "query", "jobs"):
        assert f"POST /v1/{path}" in described
    assert {"GET /v1/models", "GET /v1/models/{id}", "GET /healthz"} <= described.keys()
    assert [route for route in BODIES if not is_described(route, described.keys())] == []
    for route, about in described.items():
        assert ("422" in about["responses"]) is False
        is_open = route.endswith((" /healthz", " /readyz", " /admin/session"))
        refused = not is_open or route == "POST /admin/session"
        assert (about["security"] == [], "401" in about["responses"]) == (is_open, refused), route
