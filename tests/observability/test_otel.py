"""Traces and metrics as a collector gets them, over real sockets, from a server that serves."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cacheserver.config.otel import OtelChoice, otel
from cacheserver.core.errors import SettingsError
from cacheserver.simulated import Fault
from tests.batches.house import QUICK
from tests.house import MODEL, House
from tests.observability.collector import Collector, Point
from tests.observability.conftest import CANARY

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    async with Collector.open() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


@asynccontextmanager
async def observed(tmp_path: Path, **settings: Any) -> AsyncIterator[House]:
    """A house as the environment asks for it. What it told is with the collector at its end."""
    async with House.open(tmp_path, otel=otel(), **settings) as house:
        yield house


def points(collector: Collector, name: str, **attributes: str) -> list[Point]:
    wanted = {key.replace("__", "."): value for key, value in attributes.items()}
    return [one for one in collector.metrics[name] if wanted.items() <= one.attributes.items()]


async def test_a_miss_is_a_request_and_a_call_below_it(
    tmp_path: Path, collector: Collector
) -> None:
    async with observed(tmp_path) as house:
        answer = await house.ask(max_tokens=77, headers={"traceparent": CALLER})
        (sent,) = house.asked
    (request,), (call,) = collector.requests, collector.calls
    assert (request.name, call.name) == ("POST /v1/messages", f"chat {MODEL}")
    assert request.trace_id == call.trace_id == CALLER.split("-")[1]
    assert (request.parent, call.parent) == (CALLER.split("-")[2], request.span_id)
    assert sent.headers["traceparent"] == f"00-{call.trace_id}-{call.span_id}-01"
    message = answer.json()
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 77,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.id": message["id"],
        "gen_ai.response.finish_reasons": [message["stop_reason"]],
        "gen_ai.usage.input_tokens": message["usage"]["input_tokens"],
        "gen_ai.usage.output_tokens": message["usage"]["output_tokens"],
        "server.address": "127.0.0.1",
        "cacheserver.task": "fill",
    }
    assert expected.items() <= call.attributes.items()
    assert {
        "http.route": "/v1/messages",
        "http.response.status_code": 200,
        "cacheserver.outcome": "miss",
        "cacheserver.reason": "empty",
        "cacheserver.decision_id": answer.headers["x-cache-decision"],
        "cacheserver.request_id": answer.headers["request-id"],
        "cacheserver.tenant": "default",
        "cacheserver.cost_nanodollars": round(float(answer.headers["x-cost-usd"]) * 1e9),
    }.items() <= request.attributes.items()
    assert not request.failed
    assert collector.resource["service.name"] == "cacheserver"


async def test_a_hit_is_a_request_that_says_what_it_saved_and_calls_nobody(
    tmp_path: Path, collector: Collector
) -> None:
    async with observed(tmp_path) as house:
        await house.ask()
        exact = await house.ask()
        semantic = await house.ask("What's the capital of France?")
    assert len(collector.calls) == 1
    _, first, second = collector.requests
    assert first.attributes["cacheserver.outcome"] == "exact"
    saved = round(float(exact.headers["x-saved-usd"]) * 1e9)
    assert first.attributes["cacheserver.saved_nanodollars"] == saved > 0
    assert second.attributes["cacheserver.outcome"] == "semantic"
    similarity = float(semantic.headers["x-cache-similarity"])
    assert second.attributes["cacheserver.similarity"] == similarity
    assert len({span.trace_id for span in collector.requests}) == 3


async def test_the_input_has_what_claude_read_and_wrote_of_its_prompt_cache(
    tmp_path: Path, collector: Collector
) -> None:
    long = [{"type": "text", "text": "word " * 6_000, "cache_control": {"type": "ephemeral"}}]
    async with observed(tmp_path) as house:
        wrote = (await house.ask("One?", system=long)).json()["usage"]
        read = (await house.ask("Two?", system=long)).json()["usage"]
    first, second = (span.attributes for span in collector.calls)
    written = wrote["cache_creation_input_tokens"]
    assert first["gen_ai.usage.input_tokens"] == wrote["input_tokens"] + written
    assert first["gen_ai.usage.cache_write.input_tokens"] == written > 0
    assert first["gen_ai.usage.cache_creation.input_tokens"] == written
    assert second["gen_ai.usage.cache_read.input_tokens"] == read["cache_read_input_tokens"] > 0
    assert second["gen_ai.usage.input_tokens"] > read["cache_read_input_tokens"]


async def test_a_stream_ends_its_spans_when_it_ends(tmp_path: Path, collector: Collector) -> None:
    async with observed(tmp_path) as house:
        answer = await house.ask("Slow? [[sim slow=0.3 words=10]]", stream=True)
    (request,), (call,) = collector.requests, collector.calls
    assert call.attributes["gen_ai.request.stream"] is True
    assert call.attributes["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert call.attributes["gen_ai.usage.output_tokens"] > 0
    assert call.attributes["gen_ai.usage.input_tokens"] > 0
    assert (
        0
        < call.attributes["gen_ai.response.time_to_first_chunk"]
        <= call.seconds
        <= request.seconds
    )
    assert request.attributes["cacheserver.decision_id"] == answer.headers["x-cache-decision"]
    assert request.attributes["cacheserver.outcome"] == "miss"
    assert "cacheserver.abandoned" not in request.attributes


async def test_a_stream_that_is_left_ends_its_spans_and_says_so(
    tmp_path: Path, collector: Collector
) -> None:
    async with observed(tmp_path) as house:
        body = {
            "model": MODEL,
            "max_tokens": 100,
            "stream": True,
            "messages": [{"role": "user", "content": "Slow? [[sim hang=3 words=20]]"}],
        }
        headers = {"cache-control": "no-store"}
        async with house.http.stream(
            "POST", "/v1/messages", json=body, headers=headers
        ) as response:
            await anext(response.aiter_bytes())
    (request,), (call,) = collector.requests, collector.calls
    assert request.attributes["cacheserver.abandoned"] is True
    assert request.attributes["cacheserver.decision_id"] == response.headers["x-cache-decision"]
    assert call.parent == request.span_id


async def test_what_claude_refuses_is_an_error_by_its_own_word(
    tmp_path: Path, collector: Collector
) -> None:
    async with observed(tmp_path) as house:
        house.upstream.faults.add(Fault("error", status=529, times=9, should_retry=False))
        assert (await house.ask()).status_code == 529
        house.upstream.faults.clear()
        house.upstream.faults.add(Fault("broken", after_events=3))
        await house.ask("Broken?", stream=True)
    first, second = collector.calls
    assert (first.failed, first.attributes["error.type"]) == (True, "overloaded_error")
    assert (second.failed, second.attributes["error.type"]) == (True, "overloaded_error")
    one, two = collector.requests
    assert (one.failed, one.attributes["error.type"]) == (True, "529")
    assert (
        one.attributes["cacheserver.outcome"] == two.attributes["cacheserver.outcome"] == "failed"
    )


async def test_work_behind_the_answers_has_spans_of_its_own(
    tmp_path: Path, collector: Collector
) -> None:
    async with observed(tmp_path, pace=QUICK) as house:
        params = {
            "model": MODEL,
            "max_tokens": 10,
            "messages": [{"role": "user", "content": "Later?"}],
        }
        twice = [{"custom_id": name, "params": params} for name in ("secret-one", "secret-two")]
        bad = {"custom_id": "secret-three", "params": {**params, "messages": []}}
        batch = {"requests": [*twice, bad]}
        taken = (await house.http.post("/v1/messages/batches", json=batch)).json()
        events = await house.http.get(f"/v1/jobs/{taken['id']}/events")  # until it has ended
        assert '"ended"' in events.text
    created = [span for span in collector.calls if span.name == "POST /v1/messages/batches"]
    assert len(created) == 1
    assert created[0].attributes["cacheserver.task"] == "batches:work"
    assert created[0].parent == ""
    shown = {span.name for span in collector.requests}
    assert shown == {"POST /v1/messages/batches", "GET /v1/jobs/{id}/events"}
    items = sorted(collector.of(1), key=lambda span: span.attributes["cacheserver.item"])
    asked = next(span for span in collector.requests if span.name == "POST /v1/messages/batches")
    assert {(one.name, one.parent, one.trace_id) for one in items} == {
        ("batch item", asked.span_id, asked.trace_id)
    }
    ends = [
        (one.attributes["cacheserver.end"], one.attributes["cacheserver.outcome"], one.failed)
        for one in items
    ]
    assert ends == [
        ("succeeded", "miss", False),
        ("succeeded", "coalesced", False),
        ("errored", "failed", True),
    ]
    assert items[0].attributes["gen_ai.response.model"] == MODEL
    assert items[0].attributes["gen_ai.usage.output_tokens"] > 0
    assert items[0].attributes["cacheserver.cost_nanodollars"] > 0
    assert "gen_ai.usage.output_tokens" not in items[1].attributes
    assert items[1].attributes["cacheserver.cost_nanodollars"] == 0
    assert {one.attributes["cacheserver.job_id"] for one in items} == {taken["id"]}
    assert not any(b"secret" in body or b"Later" in body for body in collector.bodies)


async def test_the_sums_are_the_conventions_own_and_the_ledgers(
    tmp_path: Path, collector: Collector
) -> None:
    async with observed(tmp_path) as house:
        miss = await house.ask()
        await house.ask()
        await house.ask(model="no-such-model-at-all")
    usage = miss.json()["usage"]
    (tokens,) = points(collector, "gen_ai.client.token.usage", gen_ai__token__type="input")
    assert (tokens.value, tokens.count) == (usage["input_tokens"], 1)
    assert tokens.bounds == tuple(4**power for power in range(14))
    took = points(collector, "gen_ai.client.operation.duration")
    assert took[0].bounds[0] == 0.01
    assert took[0].bounds[-1] == 81.92
    models = {one.attributes["gen_ai.request.model"] for one in took}
    assert models == {MODEL, "_OTHER"}  # a name that nobody answers to makes no series
    requests = {
        (one.attributes["outcome"], one.attributes["reason"]): one.value
        for one in collector.metrics["cacheserver.requests"]
    }
    assert requests[("miss", "empty")] == 1
    assert requests[("exact", "identical")] == 1
    (cost,) = collector.metrics["cacheserver.cost"]
    assert cost.value == round(float(miss.headers["x-cost-usd"]) * 1e9)
    (saved,) = points(collector, "cacheserver.saved", cause="exact")
    assert saved.value == cost.value
    assert sum(one.count for one in collector.metrics["http.server.request.duration"]) == 3


async def test_nothing_that_a_caller_wrote_is_told_to_anybody(
    tmp_path: Path, collector: Collector, lines: Any
) -> None:
    async with observed(tmp_path, log_format="json") as house:
        key = await house.key("shop")
        said = {
            "x-cache-tags": CANARY,
            "x-note": CANARY,
            "tracestate": f"v={CANARY}",
            "baggage": f"b={CANARY}",
            "user-agent": CANARY,
        }
        body = {
            "system": f"Say {CANARY}.",
            "metadata": {"user_id": CANARY},
            "stop_sequences": [CANARY],
            "model": MODEL,
        }
        for stream in (False, True):
            for _ in range(2):
                await house.ask(f"Echo {CANARY}?", key=key, headers=said, stream=stream, **body)
        await house.http.get(f"/v1/decisions/{CANARY}?{CANARY}={CANARY}")
        await house.http.get(f"/{CANARY}")
        await house.ask(key=f"cs_{CANARY}")
        await house.ask(key=key, model=f"Please tell me of {CANARY}, will you?")
        house.upstream.faults.add(Fault("broken", after_events=3))
        await house.ask(f"Broken {CANARY}?", key=key, stream=True, headers=said)
        question = {"prompt": f"Plain {CANARY}?", "conversation": CANARY, "tags": [CANARY]}
        await house.http.post("/v1/query", json=question, headers={"x-api-key": key})
    assert len(collector.requests) == 10
    assert len(collector.metrics) >= 6
    exported = b"".join(collector.bodies)
    for secret in (CANARY, key, key.removeprefix("cs_")):
        assert secret.encode() not in exported
        attributes = [line for line in lines.all if line["logger"] == "cacheserver.access"]
        assert secret not in str([{**line, "model": None, "message": ""} for line in attributes])


async def test_a_collector_that_is_away_costs_no_answer_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    with socket.socket() as nobody:  # bound and not listening: connections are refused
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}"
        )
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "2")
        async with observed(tmp_path) as house:
            for _ in range(20):
                assert (await house.ask()).status_code == 200
            metrics = house.parts.metrics
    page = metrics.render().decode()
    # Twenty requests and one call: each is dropped at once, or when its export has failed.
    assert 'cacheserver_dropped_total{buffer="otel-spans"} 21.0' in page
    assert "otel-metrics" in page
    attributes = lines.of("cacheserver.observability.otel.export")
    assert len([line for line in attributes if line["message"].startswith("spans cannot")]) == 1


async def test_what_the_sampler_leaves_out_is_neither_sent_nor_counted(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    async with observed(tmp_path) as house:
        await house.ask()
        await house.ask("Mine?", headers={"traceparent": CALLER})
        metrics, asked = house.parts.metrics, house.asked
    assert [span.trace_id for span in collector.requests] == [CALLER.split("-")[1]]
    assert int(asked[0].headers["traceparent"][-2:], 16) & 1 == 0  # Claude is told so, too
    assert b"otel-spans" not in metrics.render()


async def test_only_sums_may_be_asked_for(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    async with observed(tmp_path) as house:
        await house.ask(headers={"traceparent": CALLER})
        (asked,) = house.asked
    assert collector.spans == []
    assert "cacheserver.requests" in collector.metrics
    assert asked.headers["traceparent"] == CALLER


@pytest.mark.parametrize(
    ("environ", "choice"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "x"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, None),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
            OtelChoice("otlp", "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"},
            OtelChoice("otlp", None, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_METRICS_EXPORTER": "none"},
            OtelChoice("otlp", None, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ),
        (
            {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_MAX_QUEUE_SIZE": "7"},
            OtelChoice("console", None, "OTEL_TRACES_EXPORTER", 7),
        ),
    ],
)
def test_the_usual_variables_say_what_is_wanted(
    environ: dict[str, str], choice: OtelChoice | None
) -> None:
    assert otel(environ) == choice


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_METRICS_EXPORTER": "prometheus"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_MAX_QUEUE_SIZE": "none"},
    ],
)
def test_what_we_do_not_speak_is_refused_by_name(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as refused:
        otel(environ)
    assert f"`{list(environ)[-1]}`" in str(refused.value)
    assert "must be" in str(refused.value)
