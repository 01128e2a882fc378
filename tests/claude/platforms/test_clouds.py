"""Misses that Bedrock and Vertex AI answer, over real sockets, signed and encoded as theirs are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest

from cacheserver.simulated import Simulated, SimulatedSettings, serve_simulated
from tests.claude.platforms import clouds
from tests.claude.platforms.clouds import Cloud
from tests.house import MODEL, House, came_from, serving

BEDROCK = {"upstream": "bedrock", "upstream_region": clouds.REGION}


@asynccontextmanager
async def opened(
    folder: Path, patch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[tuple[House, Cloud]]:
    patch.setenv("AWS_ACCESS_KEY_ID", clouds.KEY_ID)
    patch.setenv("AWS_SECRET_ACCESS_KEY", clouds.SECRET)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with serve_simulated(Simulated(SimulatedSettings())) as claude:
        cloud = Cloud(claude)
        async with serving(cloud.app) as url:
            account = cloud.service_account(url, folder)
            patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
            endpoint = f"{url}/v1" if settings["upstream"] == "vertex" else url
            kept = {"upstream_endpoint": endpoint, "anthropic_api_key": None, **settings}
            async with House.open(kept.pop("data_dir", folder / "house"), **kept) as house:
                yield house, cloud


async def test_bedrock_answers_a_signed_request_and_the_answer_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, monkeypatch, **BEDROCK) as (house, cloud):
        claude = house.sdk()
        message = await claude.messages.create(
            model=MODEL,
            max_tokens=50,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            metadata={"user_id": "somebody"},
            extra_headers={"anthropic-beta": "one,two"},
        )
        assert message.model == MODEL
        assert "capital of France" in str(message.content)
        assert cloud.models == ["global.anthropic.claude-haiku-5-5"]
        body = cloud.bodies[0]
        assert body["anthropic_version"] == "bedrock-2023-05-31"
        assert body["anthropic_beta"] == ["one", "two"]
        assert not body.keys() & {"model", "stream", "metadata"}
        headers = {"anthropic-beta": "one,two", "anthropic-version": "2026-10-21"}
        again = await house.ask(max_tokens=50, headers=headers)
        assert came_from(again) == ("exact", "identical")
        assert len(cloud.models) == 1


async def test_bedrocks_stream_is_claudes_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, monkeypatch, **BEDROCK) as (house, cloud):
        claude = house.sdk()
        question = [{"role": "user", "content": "What is the capital of Peru?"}]
        asked: Any = {"model": MODEL, "max_tokens": 50, "messages": question}
        texts = []
        for _ in range(2):
            async with claude.messages.stream(**asked) as stream:
                texts.append(await stream.get_final_text())
                final = await stream.get_final_message()
                assert final.usage.output_tokens > 0
        assert texts[0] == texts[1]
        assert "Peru" in texts[0]
        assert len(cloud.models) == 1
        raw = await house.ask("What is the capital of Chile?", stream=True)
        assert b"invocationMetrics" not in raw.content
        assert raw.content.count(b"event: message_stop") == 1


@pytest.mark.parametrize("broken", ["damaged", "an error"])
async def test_a_stream_of_bedrocks_that_breaks_off_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    async with opened(tmp_path, monkeypatch, **BEDROCK) as (house, cloud):
        if broken == "damaged":
            cloud.damage = lambda frame: frame[:-6] + b"xx" + frame[-4:]
        else:
            cloud.error_frame = True
        answer = await house.ask(stream=True)
        assert "event: error" in answer.text or answer.status_code == 502, answer.text
        cloud.damage, cloud.error_frame = (lambda frame: frame), False
        assert came_from(await house.ask()) == ("miss", "empty")


async def test_a_wrong_signature_is_bedrocks_403_in_claudes_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, monkeypatch, **BEDROCK) as (house, cloud):
        monkeypatch.setattr(clouds, "SECRET", "another")
        with pytest.raises(anthropic.PermissionDeniedError, match="signature"):
            await house.sdk().messages.create(
                model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "Hi"}]
            )
        assert cloud.models == []


async def test_a_clouds_errors_have_claudes_shape_and_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = {"retries": 1, "retry_wait_s": 1, **BEDROCK}
    async with opened(tmp_path, monkeypatch, **patient) as (house, cloud):
        cloud.fail = 400, {"message": "max_tokens: too many"}
        answer = await house.ask()
        assert answer.status_code == 400
        assert answer.json() == {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "max_tokens: too many"},
        }
        assert answer.headers["request-id"] == "req-of-aws"
        cloud.fail = 429, {"message": "Too many requests"}
        answer = await house.ask()
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")
        assert len(cloud.models) == 3


async def test_what_bedrock_lacks_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, monkeypatch, **BEDROCK) as (house, cloud):
        count = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
        for method, path in (("POST", "/v1/messages/count_tokens"), ("GET", "/v1/models")):
            answer = await house.http.request(method, path, json=count)
            assert (answer.status_code, "Amazon Bedrock" in answer.text) == (404, True), answer.text
        for method, path in (("POST", "/v1/messages/batches"), ("POST", "/v1/jobs"),
                             ("GET", "/v1/files"), ("GET", "/v1/skills/x")):  # fmt: skip
            answer = await house.http.request(method, path, json={})
            assert (answer.status_code, "upstream has none" in answer.text) == (404, True), path
        block = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
        content = [block, {"type": "text", "text": "What is it?"}]
        answer = await house.ask(messages=[{"role": "user", "content": content}])
        assert (answer.status_code, "Files API" in answer.text) == (400, True)
        assert cloud.models == []


async def test_without_credentials_nothing_is_sent_and_the_operator_reads_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {**BEDROCK, "upstream_region": "us-east-1"}  # boto keeps what it found for a region
    async with opened(tmp_path, monkeypatch, **elsewhere) as (house, cloud):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        answer = await house.ask()
        assert (answer.status_code, "no credentials" in answer.text) == (502, True), answer.text
        assert cloud.models == []


async def test_vertex_answers_with_a_token_of_the_service_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "upstream": "vertex",
        "upstream_region": "europe-west1",
        "vertex_project": "the-project",
    }
    async with opened(tmp_path, monkeypatch, **settings) as (house, cloud):
        claude = house.sdk()
        message = await claude.messages.create(
            model="claude-haiku-4-5",
            max_tokens=50,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
        )
        assert "capital of France" in str(message.content)
        assert cloud.models == ["claude-haiku-4-5@20251001"]
        assert cloud.bodies[0]["anthropic_version"] == "vertex-2023-10-16"
        raw = await house.ask("What is the capital of Peru?", stream=True)
        assert raw.content.count(b"event: message_stop") == 1
        assert cloud.models[-1] == MODEL
        count = await claude.messages.count_tokens(
            model="auto", messages=[{"role": "user", "content": "Hi"}]
        )
        assert count.input_tokens > 0
        assert cloud.tokens_given == 1  # it is kept while it is good
        assert "cacheserver" not in cloud.headers[-1]["authorization"]


async def test_a_region_costs_a_tenth_more_and_anywhere_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = []
    for profile in ("global", "eu"):
        async with opened(
            tmp_path, monkeypatch, data_dir=tmp_path / profile, bedrock_profile=profile, **BEDROCK
        ) as (
            house,
            cloud,
        ):
            asked = {"prompt": "What is the capital of France?", "model": "claude-opus-5-5"}
            answer = (await house.http.post("/v1/query", json=asked)).json()
            costs.append(round(float(answer["cost_usd"]) * 1e9))
            assert cloud.models == [f"{profile}.anthropic.claude-opus-5-5"]
    assert costs[1] * 10 == costs[0] * 11
