"""Exports of tools people have: what each says of a request, and the files they come in."""

from __future__ import annotations

import csv
import gzip
import json
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cacheserver.analysis.audit.formats.reading import ReadLog, calls
from cacheserver.analysis.replay.call import Call
from cacheserver.core.types import Usage
from tests.analysis.audit.exports import SPOKEN, helicone, langfuse, otlp, span
from tests.analysis.audit.records import pair, spend
from tests.analysis.audit.test_reading import json_values, read, write

ALIKE = {"helicone": helicone(), "langfuse": langfuse(), "otel": otlp(span())}


def one(folder: Path, record: Mapping[str, Any]) -> Call:
    (found,), reading = read(write(folder / "a.jsonl", record), since=0.0)
    assert reading.bad == 0
    return found


@pytest.mark.parametrize("format", sorted(ALIKE))
def test_each_says_the_same_of_the_same_request(tmp_path: Path, format: str) -> None:
    found = one(tmp_path, ALIKE[format])
    assert found.at == 1_793_613_600.0
    assert (found.model, found.tenant) == ("claude-sonnet-5-5", "acme")
    assert found.purpose == "help"
    assert found.usage == Usage(20, 5, cache_read_tokens=1_000)
    assert found.cost == (None if format == "otel" else 190_000)
    body = json.loads(json.dumps(found.body))
    blocks = body["messages"][0]["content"]
    assert blocks == "What is the capital of France?" or blocks[0]["text"] == (
        "What is the capital of France?"
    )
    assert body["system"] in ("Be brief.", [{"type": "text", "text": "Be brief."}])
    assert body["max_tokens"] == 300
    assert found.message is not None
    assert found.message["content"] == [{"type": "text", "text": "Paris."}]
    assert found.message["stop_reason"] == "end_turn"


def test_what_is_no_call_is_left_out_and_is_not_bad(tmp_path: Path) -> None:
    other = {**span(), "attributes": []}
    agent = span(**{"gen_ai.operation.name": "invoke_agent"})
    log = write(tmp_path / "a.jsonl", langfuse(type="SPAN"), otlp(other, agent, span()))
    found, reading = read(log)
    assert (len(found), reading.bad) == (1, 0)
    assert reading.skipped == {
        "observations that are no generations": 1,
        "spans of other work": 2,
    }


def test_failures_and_hits_of_another_cache_are_told(tmp_path: Path) -> None:
    assert one(tmp_path, helicone(response_status=429)).status == 429
    assert one(tmp_path, helicone(cache_reference_id="0f0e")).hit
    assert one(tmp_path, langfuse(level="ERROR")).status == 500
    assert one(tmp_path, otlp(span(**{"error.type": "timeout"}))).status == 500


def test_spans_of_before_the_conventions_are_read(tmp_path: Path) -> None:
    older = {
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "claude-haiku-5-5",
        "gen_ai.usage.prompt_tokens": 20,
        "gen_ai.usage.completion_tokens": 5,
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": "Be brief.",
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": "Hi",
        "gen_ai.completion.0.content": "Ho",
        "gen_ai.completion.0.finish_reason": "length",
    }
    flat = {"name": "anthropic.chat", "context": {}, "start_time": "2026-11-02T10:00:00Z"}
    found = one(tmp_path, {**flat, "attributes": older})
    assert found.usage == Usage(20, 5)
    assert found.body == {
        "model": "claude-haiku-5-5",
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }
    assert found.message == {
        "content": [{"type": "text", "text": "Ho"}],
        "stop_reason": "max_tokens",
    }


def test_a_turn_of_tools_alone_leaves_the_prompt_unknown(tmp_path: Path) -> None:
    older = {
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "claude-haiku-5-5",
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": "Weather?",
        "gen_ai.prompt.1.role": "assistant",
        "gen_ai.prompt.1.tool_calls.0.name": "weather",
        "gen_ai.prompt.2.role": "user",
        "gen_ai.prompt.2.content": "And tomorrow?",
    }
    flat = {"name": "chat", "context": {}, "start_time": "2026-11-02T10:00:00Z"}
    assert one(tmp_path, {**flat, "attributes": older}).body is None


TOOLS = {
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo and Rome?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": f"c{n}",
                    "type": "function",
                    "function": {"name": "weather", "arguments": json.dumps({"city": city})},
                }
                for n, city in enumerate(("Oslo", "Rome"))
            ],
        },
        {"role": "tool", "tool_call_id": "c0", "content": "Rain"},
        {"role": "tool", "tool_call_id": "c1", "content": "Sun"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
        }
    ],
    "tool_choice": "required",
    "max_tokens": 300,
}


def test_tools_of_a_gateway_are_those_that_claude_was_sent(tmp_path: Path) -> None:
    found = one(tmp_path, spend(messages="[]", proxy_server_request=json.dumps(TOOLS)))
    assert found.body is not None
    assert found.body["tools"] == [
        {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
    ]
    assert found.body["tool_choice"] == {"type": "any"}
    _, asked, answered = found.body["messages"]
    assert asked["content"] == [
        {"type": "tool_use", "id": "c0", "name": "weather", "input": {"city": "Oslo"}},
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}},
    ]
    assert (answered["role"], len(answered["content"])) == ("user", 2)
    assert answered["content"][1] == {
        "type": "tool_result",
        "tool_use_id": "c1",
        "content": [{"type": "text", "text": "Sun"}],
    }


def test_what_cannot_be_told_of_a_prompt_is_not_guessed(tmp_path: Path) -> None:
    odd = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]
    assert one(tmp_path, spend(messages=json.dumps(odd))).body is None


def cells(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in record.items()
    }


@pytest.mark.parametrize("record", [helicone(), langfuse(), spend()])
def test_a_table_says_what_lines_say(tmp_path: Path, record: dict[str, Any]) -> None:
    whole = one(tmp_path, record)
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.DictWriter(file, list(record))
        table.writeheader()
        table.writerow(cells(record))
        table.writerow(cells({**record, **dict.fromkeys(record, "?")}))
        file.write(",".join("x" * (len(record) + 1)) + "\n")
    (found,), reading = read(tmp_path / "t.csv", since=0.0)
    assert (found.usage, found.cost, found.body) == (whole.usage, whole.cost, whole.body)
    assert (found.message, found.status, found.source) == (whole.message, 200, "t.csv:2")
    assert reading.bad + sum(reading.skipped.values()) == 2


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "made",
    [
        lambda records: records,
        lambda records: {"data": records, "error": None},
        lambda records: {"meta": {"page": 1}, "data": records},
        lambda records: {"body": {}, "results": records},
    ],
)
def test_documents_and_pages_hold_what_lines_hold(
    tmp_path: Path, indent: int | None, made: Any
) -> None:
    records = [langfuse(id=str(n), sessionId=str(n)) for n in range(3)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(made(records), indent=indent))
    found, reading = read(path)
    assert len(found) == 3
    assert (reading.bad, reading.lines) == (0, 3)
    (tmp_path / "a.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert len(read(tmp_path / "a.gz")[0]) == 3


def test_one_document_of_spans_and_one_record_alone(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(otlp(span(), span()), indent=1))
    (tmp_path / "b.json").write_text(json.dumps(pair(), indent=1))
    found, reading = read(tmp_path)
    assert (len(found), reading.bad) == (3, 0)


@pytest.mark.parametrize("garbage", ["[", "[1", "{", "[{}", "a,b,c"])
def test_garbage_before_lines_costs_no_line(tmp_path: Path, garbage: str) -> None:
    found, reading = read(write(tmp_path / "a.jsonl", garbage, pair(), pair()))
    assert (len(found), reading.bad) == (2, 1)


def test_a_list_of_one_object_is_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f"[\n{json.dumps(pair())}\n]\n")
    found, reading = read(tmp_path / "a.json")
    assert (len(found), reading.bad) == (1, 0)


def test_a_document_that_breaks_off_has_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([langfuse(), langfuse()], indent=1)[:-40])
    found, reading = read(path)
    assert (len(found), reading.bad) == (1, 1)
    assert reading.shown == ["a.json[2]: the JSON ends here: IncompleteJSONError"]


@settings(max_examples=150)
@given(
    st.sampled_from([pair, spend, helicone, langfuse, span]),
    st.lists(st.tuples(st.integers(0, 30), json_values), min_size=1, max_size=3),
    st.sampled_from(["lines", "document", "table"]),
)
def test_whatever_a_field_holds_is_never_fatal(
    tmp_path_factory: pytest.TempPathFactory,
    make: Any,
    changes: list[tuple[int, Any]],
    held: str,
) -> None:
    record = make()
    for place, value in changes:
        within = record
        for _ in range(2):  # a field, or a field of a field
            name = sorted(within)[place % len(within)]
            if place % 2 and isinstance(within[name], dict) and within[name]:
                within = within[name]
        within[name] = value
    path = tmp_path_factory.mktemp("log") / "a"
    records = [record, pair()]
    if held == "table":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, sorted({name for one in records for name in one}))
            table.writeheader()
            for each in records:
                table.writerow(cells(each))
    else:
        lines = "\n".join(json.dumps(each) for each in records)
        document = json.dumps(records, indent=1)
        assume(held == "lines" or ("Infinity" not in document and "NaN" not in document))
        path.write_text(lines if held == "lines" else document)
    found, reading = read(path, since=0.0)
    assert len(found) + reading.bad + sum(reading.skipped.values()) == reading.lines
    assert any(call.body is not None for call in found)


def test_a_long_document_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.json"
        text = json.dumps(langfuse(input="x" * 2_000, type="SPAN"))
        with path.open("w") as file:
            file.write("[\n" + ",\n".join([text] * count) + "\n]")
        tracemalloc.start()
        reading = ReadLog()
        assert list(calls([path], reading=reading)) == []
        assert sum(reading.skipped.values()) == count
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(4_000) < peak(200) + 1_000_000  # 10 MB and 0.5


def test_spoken_names_are_those_of_the_conventions() -> None:
    pytest.importorskip("opentelemetry.semconv")
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as names

    known = {value for value in vars(names).values() if isinstance(value, str)}
    assert {name for name in SPOKEN if name.startswith("gen_ai.")} <= known
