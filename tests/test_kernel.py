"""The kernel by itself: a server answers, hits and records with every capability switched off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cacheserver import bootstrap, cli
from cacheserver.api.routes import RESOURCES
from cacheserver.cache.absent import NoLanguage
from cacheserver.core.features import FEATURES, Feature, switched_off
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"x-api-key": ADMIN_KEY}
QUESTION = {"prompt": "What is the capital of France?"}
ASKED = QUESTION["prompt"]
TWIN = "What's the capital of France?"

# A request that only the capability can serve.
ROUTES: dict[Feature, tuple[str, str, dict[str, Any] | None]] = {
    "alerts": ("GET", "/admin/v1/alerts", None),
    "batches": ("POST", "/v1/jobs", QUESTION),
    "budgets": ("GET", "/v1/budget", None),
    "calibration": ("GET", "/admin/v1/labels/queue?tenant=default", None),
    "conversations": ("GET", "/v1/conversations/holiday", None),
    "erasure": ("POST", "/v1/erase", {"tag": "holiday"}),
    "lint": ("POST", "/v1/lint", {"messages": [{"role": "user", "content": "Hello"}]}),
    "prompt-caching": ("GET", "/admin/v1/prompts/default/fragments", None),
    "trials": ("GET", "/admin/v1/routing/default/trials", None),
}


async def test_a_server_with_all_switched_off_answers_hits_and_records(tmp_path: Path) -> None:
    async with House.open(tmp_path, similarity=None, features_off=FEATURES) as house:
        assert came_from(await house.ask())[0] == "miss"
        assert came_from(await house.ask()) == ("exact", "identical")
        twin = await house.ask(TWIN)
        assert came_from(twin)[0] == "semantic", twin.headers
        assert came_from(await house.ask("What is the capital of Peru?"))[0] == "miss"
        assert len(house.asked) == 2
        await house.parts.ledger.flush()
        usage = (await house.http.get("/v1/usage")).json()
        totals = usage["totals"]
        assert totals["requests"] == 4
        assert float(totals["saved_usd"]) > 0


async def test_without_word_rules_similarity_serves_the_same_text_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "languages", NoLanguage)
    for bar in ({"similarity": None}, {"similarity": 0.3}):
        async with House.open(tmp_path / str(bar), **bar) as house:
            await house.ask()
            twin = await house.ask(TWIN)
            assert came_from(twin) == ("miss", "vetoed"), twin.headers
            assert twin.headers["x-cache-veto"] == "unreadable"
            assert came_from(await house.ask(f"  {ASKED}\n"))[0] == "semantic"


@pytest.mark.parametrize("feature", FEATURES)
async def test_each_capability_can_be_switched_off_alone(tmp_path: Path, feature: Feature) -> None:
    async with House.open(tmp_path, features_off=(feature,)) as house:
        assert came_from(await house.ask())[0] == "miss"
        assert came_from(await house.ask()) == ("exact", "identical")
        await house.parts.ledger.flush()
        assert (await house.http.get("/v1/usage")).json()["totals"]["requests"] == 2
        await house.parts.gauge_sampler.sample()
        for name, (method, path, body) in ROUTES.items():
            answer = await house.http.request(method, path, json=body, headers=ADMIN)
            if name in switched_off((feature,)):
                assert answer.status_code == 404, answer.text
                error = answer.json()["error"]
                assert error["type"] == "not_found_error"
                assert f"`{name}`" in error["message"]
                assert "`CACHESERVER_FEATURES_OFF`" in error["message"]
            else:
                assert "CACHESERVER_FEATURES_OFF" not in answer.text


async def test_every_route_of_what_is_off_admits_its_caller_then_names_the_setting(
    tmp_path: Path,
) -> None:
    refused = [
        (resource.feature, method, route.path)
        for resource in RESOURCES
        for route in resource.routes
        for method in (route.methods or set()) - {"HEAD"}
        if resource.feature is not None
    ]
    assert len(refused) > 30
    async with House.open(tmp_path, features_off=FEATURES) as house:
        described = (await house.http.get("/openapi.json")).json()["paths"]
        key = {"x-api-key": await house.key("one")}
        for feature, method, path in refused:
            assert method.lower() not in described.get(path, {})
            unknown = await house.http.request(method, path, content=b"{")
            assert unknown.status_code == 401, unknown.text
            headers = key if path.startswith("/v1") else ADMIN
            answer = await house.http.request(method, path, headers=headers, content=b"{")
            assert answer.status_code == 404, answer.text
            assert f"`{feature}`" in answer.json()["error"]["message"]
        assert (await house.http.patch("/v1/jobs/one", headers=key)).status_code == 405
    async with House.open(tmp_path / "on") as house:
        described = (await house.http.get("/openapi.json")).json()["paths"]
        assert all(method.lower() in described[path] for _, method, path in refused)


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_is_refused_by_its_commands_alone(
    feature: Feature, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CACHESERVER_FEATURES_OFF", feature)
    refused = cli.main(["presets"]) == 2
    assert refused == (feature == "analysis")
    assert ("`analysis` is switched off" in capsys.readouterr().err) == refused


async def test_what_was_called_wrong_is_not_served_while_calibration_is_off(
    tmp_path: Path,
) -> None:
    same: dict[str, Any] = {"similarity": None, "upstream": "simulated"}  # of one identity
    async with House.open(tmp_path, **same) as house:
        await house.ask()
        twin = await house.ask(TWIN)
        assert came_from(twin)[0] == "semantic"
        verdict = {"decision_id": twin.headers["x-cache-decision"], "verdict": "bad"}
        given = await house.http.post("/v1/feedback", json=verdict)
        assert given.json()["done"] == "tombstoned", given.text
    async with House.open(tmp_path, features_off=("calibration",), **same) as house:
        assert came_from(await house.ask()) == ("exact", "identical")
        assert came_from(await house.ask(TWIN)) == ("miss", "condemned")
