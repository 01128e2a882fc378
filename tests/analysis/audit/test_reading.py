"""What is made of logs, and of what is none."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.analysis.audit.formats import fields
from cacheserver.analysis.audit.formats.order import in_order
from cacheserver.analysis.audit.formats.reading import ReadLog, Unreadable, calls
from cacheserver.analysis.replay.call import Call
from cacheserver.core.types import Usage
from tests.analysis.audit.records import pair, spend
from tests.analysis.replay.calls import call


def write(path: Path, *records: Mapping[str, Any] | str) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(*paths: Path, **asked: Any) -> tuple[list[Call], ReadLog]:
    reading = ReadLog()
    return list(calls(paths, reading=reading, **asked)), reading


def test_a_messages_pair_is_read(tmp_path: Path) -> None:
    log = write(tmp_path / "a.jsonl", pair(purpose="help", tenant="acme", cost_usd="0.003"))
    (found,), reading = read(log)
    assert (found.model, found.tenant, found.purpose) == ("claude-sonnet-5-5", "acme", "help")
    assert found.usage == Usage(1_000, 100)
    assert (found.cost, found.source, found.estimated) == (3_000_000, "a.jsonl:1", False)
    assert found.body is not None
    assert (reading.lines, reading.requests, reading.formats) == (1, 1, {"messages": 1})


def test_a_spend_log_is_read_as_what_was_sent_to_claude(tmp_path: Path) -> None:
    (found,), _ = read(write(tmp_path / "a.jsonl", spend()))
    assert found.model == "claude-sonnet-4-5-20250929"
    assert found.usage == Usage(200, 40, cache_write_5m_tokens=100, cache_read_tokens=1_200)
    assert found.cost == 12_300_000
    assert found.at % 60 == pytest.approx(0.25)
    assert found.body == {
        "model": "claude-sonnet-4-5-20250929",
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }
    assert found.message is not None
    assert found.message["content"] == [{"type": "text", "text": "Hello."}]


def test_tokens_that_a_row_counts_beside_the_cache_stay_as_they_are(tmp_path: Path) -> None:
    (found,), _ = read(write(tmp_path / "a.jsonl", spend(prompt_tokens=200)))
    assert found.usage.input_tokens == 200


def test_a_row_without_a_prompt_has_its_tokens(tmp_path: Path) -> None:
    (found,), reading = read(write(tmp_path / "a.jsonl", spend(messages="{}")))
    assert (found.body, found.usage.output_tokens, reading.without_prompt) == (None, 40, 1)


def test_without_usage_tokens_are_estimated_and_said_to_be(tmp_path: Path) -> None:
    record = pair("x" * 2_500)
    del record["response"]["usage"]
    (found,), _ = read(write(tmp_path / "a.jsonl", record))
    assert (found.usage.input_tokens, found.estimated) == (1_000, True)


def test_bad_lines_are_counted_shown_by_their_place_and_never_fatal(tmp_path: Path) -> None:
    log = write(
        tmp_path / "a.jsonl",
        "{secret words",
        pair(),
        "[1]",
        '{"a": 1}',
        {**pair(), "timestamp": "?"},
    )
    found, reading = read(log)
    assert (len(found), reading.bad, reading.requests) == (1, 4, 1)
    assert reading.shown[0] == "a.jsonl:1: no JSON"
    assert not any("secret" in line for line in reading.shown)


def test_other_models_are_left_out_by_name(tmp_path: Path) -> None:
    _, reading = read(write(tmp_path / "a.jsonl", spend(model="gpt-9")))
    assert reading.skipped == {"another model: gpt-9": 1}


def test_a_key_in_a_log_leaves_only_as_a_piece_of_its_hash(tmp_path: Path) -> None:
    secret = "sk-ant-api03-very-secret"
    record = pair(api_key_name=secret, headers={"x-api-key": secret, "anthropic-beta": "b"})
    (found,), reading = read(write(tmp_path / "a.jsonl", record))
    assert secret not in repr(found)
    assert found.headers == {"anthropic-beta": "b"}
    assert found.key is not None
    assert (len(found.key), secret in repr(reading)) == (8, False)


def test_only_the_last_thirty_days_count_or_what_is_asked_for(tmp_path: Path) -> None:
    log = write(
        tmp_path / "a.jsonl",
        *(pair(at=f"2026-{at}T00:00:00Z") for at in ("09-30", "10-05", "11-02")),
    )
    found, reading = read(log)
    assert (len(found), reading.skipped) == (2, {"before the time asked for": 1})
    since = fields.time_of("2026-09-01")
    until = fields.time_of("2026-10-01")
    assert len(read(log, since=since, until=until)[0]) == 1


def test_folders_and_zipped_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "b.jsonl", pair())
    (tmp_path / "in" / "a.gz").write_bytes(gzip.compress(json.dumps(pair()).encode() + b"\n"))
    found, reading = read(tmp_path / "in")
    assert [one.source for one in found] == ["a.gz:1", "b.jsonl:1"]
    (tmp_path / "in" / "cut.gz").write_bytes(gzip.compress(json.dumps(pair()).encode())[:-9])
    assert read(tmp_path / "in")[1].bad == 1
    assert reading.files == 2


def test_a_path_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="nowhere"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("noise", [b"\x1f\x8b", b"\x1f\x8b\x08\x00 and so on", b"\x1f\x8b\x08"])
def test_garbage_that_begins_like_gzip_costs_no_other_line(tmp_path: Path, noise: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(noise + b"\n" + json.dumps(pair()).encode() + b"\n")
    found, reading = read(tmp_path)
    assert [one.source for one in found] == ["a.jsonl:2"]
    assert (reading.lines, reading.bad) == (2, 1)


def test_a_file_that_breaks_off_counts_as_one_line_more(tmp_path: Path) -> None:
    lines = (json.dumps(pair(str(number))).encode() + b"\n" for number in range(2_000))
    packed = gzip.compress(b"".join(lines))
    (tmp_path / "cut.gz").write_bytes(packed[: len(packed) // 2])
    found, reading = read(tmp_path, since=0.0)
    assert found
    assert "the file ends here" in reading.shown[0]
    assert (reading.bad, reading.lines) == (1, len(found) + 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.binary(max_size=200), st.sampled_from([pair, spend]), st.data())
def test_whatever_a_file_holds_it_ends_with_a_count(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, make: Any, data: st.DataObject
) -> None:
    record = make()
    name = data.draw(st.sampled_from(sorted(record)))
    record[name] = data.draw(json_values)
    path = tmp_path_factory.mktemp("log") / "a.jsonl"
    path.write_bytes(
        noise + b"\n" + json.dumps(record).encode() + b"\n" + json.dumps(pair()).encode()
    )
    found, reading = read(path, since=0.0)
    assert len(found) + reading.bad + sum(reading.skipped.values()) == reading.lines
    assert found


@settings(max_examples=60)
@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 12))
def test_calls_come_by_time_and_those_of_one_time_as_they_came(times: list[int], run: int) -> None:
    made = [call(at=at, source=str(n)) for n, at in enumerate(times)]
    assert list(in_order(made, run=run)) == sorted(made, key=lambda one: one.at)


@pytest.mark.parametrize(
    ("spelled", "model"),
    [
        ("anthropic/claude-haiku-5-5", "claude-haiku-5-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5-20251001"),
        ("vertex_ai/Claude-Opus-5-5", "claude-opus-5-5"),
        ("gpt-9", None),
        (None, None),
    ],
)
def test_models_are_brought_to_anthropics_names(spelled: object, model: str | None) -> None:
    assert fields.model_of(spelled) == model


@pytest.mark.parametrize(
    "spelled",
    [
        *("2026-11-02T10:00:00Z", "2026-11-02 11:00:00+01:00", "1793613600"),
        *(1793613600, 1793613600000, 1793613600000000, 1793613600000000000),
    ],
)
def test_times_of_every_unit_are_one_time(spelled: object) -> None:
    assert fields.time_of(spelled) == 1_793_613_600.0
