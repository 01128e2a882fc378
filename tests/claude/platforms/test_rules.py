"""Names of models at each cloud, refusals, and sources of the settings."""

from __future__ import annotations

from typing import Any

import pytest

from cacheserver.claude.platforms import rules
from cacheserver.claude.platforms.rules import Cloud
from cacheserver.config.settings import Settings, load, resolve_upstream
from cacheserver.core.errors import SettingsError
from cacheserver.core.types import Usage
from cacheserver.pricing.price_file import build_pricer

NOW = 1_793_000_000.0


@pytest.mark.parametrize(
    ("model", "bedrock", "vertex"),
    [
        ("claude-haiku-5-5", "global.anthropic.claude-haiku-5-5", "claude-haiku-5-5"),
        ("claude-opus-4-6", "global.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("claude-haiku-4-5", "global.anthropic.claude-haiku-4-5-20251001-v1:0",
         "claude-haiku-4-5@20251001"),
        ("claude-haiku-4-5-20251001", "global.anthropic.claude-haiku-4-5-20251001-v1:0",
         "claude-haiku-4-5@20251001"),
        ("eu.anthropic.claude-opus-5-5", "eu.anthropic.claude-opus-5-5",
         "eu.anthropic.claude-opus-5-5"),
        ("arn:aws:bedrock:eu:1:x/y", "arn:aws:bedrock:eu:1:x/y", "arn:aws:bedrock:eu:1:x/y"),
        ("claude-opus-4-5@20251101", "claude-opus-4-5@20251101", "claude-opus-4-5@20251101"),
        ("mine", "arn:mine", "arn:mine"),
    ],
)  # fmt: skip
def test_models_have_their_names_at_each_cloud(model: str, bedrock: str, vertex: str) -> None:
    named = {"mine": "arn:mine"}
    assert Cloud("bedrock", "eu-west-1", models=named).model_id(model) == bedrock
    assert Cloud("vertex", "global", models=named).model_id(model) == vertex


def test_a_profile_is_before_the_name_or_not_there() -> None:
    eu, none = (Cloud("bedrock", "eu-west-1", profile=one) for one in ("eu", "none"))
    assert eu.model_id("claude-opus-5-5") == "eu.anthropic.claude-opus-5-5"
    assert none.model_id("claude-opus-5-5") == "anthropic.claude-opus-5-5"
    assert (eu.is_global, none.is_global) == (False, False)
    assert Cloud("bedrock", "eu-west-1").is_global
    assert Cloud("vertex", "global").is_global
    assert not Cloud("vertex", "europe-west1").is_global


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"messages": [{"content": [{"type": "image", "source": {"type": "file"}}]}]}, "Files API"),
        ({"messages": [{"content": [{"type": "tool_result", "content": [
            {"type": "document", "source": {"type": "file"}}]}]}]}, "Files API"),
        ({"messages": [{"content": [{"type": "container_upload"}]}]}, "Files API"),
        ({"container": {"skills": [{"skill_id": "pdf"}]}}, "skills"),
        ({"messages": [{"content": "a file_id"}], "tools": [{"file_id": {"type": "file"}}]}, None),
        ({"messages": "nonsense", "container": "c"}, None),
        ({"inference_geo": "us", "messages": []}, "region"),
    ],
)  # fmt: skip
def test_what_names_a_file_or_skill_is_refused(body: dict[str, Any], why: str | None) -> None:
    found = rules.refusal("bedrock", body)
    assert (found is None) if why is None else (found is not None and why in found)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"message": "no"}, "no"), ({"Message": "no"}, "no"),
        ({"error": {"code": 400, "message": "no"}}, "no"), ("x", "the cloud answered 400"),
        ({"type": "error", "error": {"type": "x", "message": "no"}}, None),
    ],
)  # fmt: skip
def test_a_clouds_error_is_told(body: Any, message: str | None) -> None:
    assert rules.told(400, body) == message


def test_the_region_and_project_come_from_each_clouds_own_variables_too() -> None:
    aws = load({"CACHESERVER_UPSTREAM": "bedrock", "AWS_DEFAULT_REGION": "eu-west-1"})
    choice = resolve_upstream(aws)
    assert choice.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    google = {"CACHESERVER_UPSTREAM": "vertex", "CLOUD_ML_REGION": "global",
              "GOOGLE_CLOUD_PROJECT": "p", "AWS_REGION": "eu-west-1"}  # fmt: skip
    choice = resolve_upstream(load(google))
    assert choice.base_url == "https://aiplatform.googleapis.com/v1"
    assert choice.cloud == Cloud("vertex", "global", project="p")
    named = load({**google, "CACHESERVER_UPSTREAM_REGION": "europe-west1"})
    assert named.upstream_region == "europe-west1"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"upstream": "bedrock"}, "CACHESERVER_UPSTREAM_REGION"),
        ({"upstream": "vertex", "upstream_region": "global"}, "CACHESERVER_VERTEX_PROJECT"),
        ({"upstream": "bedrock", "upstream_region": "x-1", "credentials": "caller"},
         "CACHESERVER_CREDENTIALS"),
    ],
)  # fmt: skip
def test_what_a_cloud_needs_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        resolve_upstream(Settings(**settings))


def test_only_models_since_4_5_have_a_premium() -> None:
    regional, anywhere = build_pricer(None, regional=True), build_pricer(None)
    usage = Usage(input_tokens=1_000, output_tokens=100, cache_read_tokens=10)
    for model in ("claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-4-5", "claude-opus-4-5"):
        dear, plain = regional.cost(model, usage, NOW), anywhere.cost(model, usage, NOW)
        assert dear is not None
        assert plain is not None
        assert dear * 10 == plain * 11, model
        priced = regional.price(model, usage, NOW)
        assert priced is not None
        assert priced.cost == dear == sum(priced.parts.values())
    for model in ("claude-opus-4-1", "claude-sonnet-4-20250514", "claude-3-haiku-20240307"):
        assert regional.cost(model, usage, NOW) == anywhere.cost(model, usage, NOW), model
