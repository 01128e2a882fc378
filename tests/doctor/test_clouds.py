"""`cacheserver doctor` with Claude at a cloud: what is accepted, refused and not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cacheserver.config.settings import Settings
from cacheserver.doctor import network
from cacheserver.doctor.check import Check
from cacheserver.simulated import Simulated, SimulatedSettings, serve_simulated
from tests.claude.platforms import clouds
from tests.claude.platforms.clouds import Cloud
from tests.house import serving

VERTEX: dict[str, Any] = {
    "upstream": "vertex",
    "upstream_region": "europe-west1",
    "vertex_project": "the-project",
}


@pytest_asyncio.fixture
async def cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Cloud, str]]:
    """Yield a cloud and its address; this machine has credentials for both."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", clouds.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", clouds.SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with serve_simulated(Simulated(SimulatedSettings())) as claude:
        made = Cloud(claude)
        async with serving(made.app) as url:
            account = made.service_account(url, tmp_path)
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
            yield made, url


async def checked(url: str, *, region: str = clouds.REGION) -> Check:
    """The check of Bedrock."""
    found = Settings(upstream="bedrock", upstream_region=region, upstream_endpoint=url)
    (check,) = await asyncio.to_thread(network.check_upstream, found)
    return check


async def checked_vertex(url: str) -> Check:
    (check,) = await asyncio.to_thread(
        network.check_upstream, Settings(**VERTEX, upstream_endpoint=f"{url}/v1")
    )
    return check


async def test_credentials_that_are_good_are_accepted_and_nothing_is_charged(
    cloud: tuple[Cloud, str],
) -> None:
    made, url = cloud
    assert await checked(url) == Check("upstream", "ok", f"{url}: credentials accepted")
    assert await checked_vertex(url) == Check("upstream", "ok", f"{url}/v1: credentials accepted")
    assert [body["messages"] for body in made.bodies] == [[], []]


async def test_a_refused_signature_and_a_refused_model_are_told_apart(
    cloud: tuple[Cloud, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, url = cloud
    made.fail = 400, {"message": "The provided model identifier is invalid."}
    check = await checked(url)
    assert (check.status, "model identifier" in check.found) == ("failed", True)
    assert "CACHESERVER_UPSTREAM_MODELS" in str(check.do)
    made.fail = 429, {"message": "Too many requests"}
    assert (await checked(url)).status == "warning"
    made.fail = None
    with monkeypatch.context() as patch:
        patch.setattr(clouds, "SECRET", "another")
        check = await checked(url)
    assert (check.status, "signature" in check.found) == ("failed", True)
    assert "replace the credentials" in str(check.do)


async def test_no_credentials_no_region_and_nobody_there_are_told_apart(
    cloud: tuple[Cloud, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, url = cloud
    check = await checked("http://127.0.0.1:9")
    assert (check.status, "127.0.0.1:9" in check.found) == ("failed", True)
    assert "CACHESERVER_UPSTREAM_ENDPOINT" in str(check.do)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    check = await checked(url, region="us-west-2")  # boto keeps what it found for a region
    assert (check.status, "has no credentials" in check.found) == ("failed", True)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
    check = await checked_vertex(url)
    assert (check.status, "no credentials for Vertex AI" in check.found) == ("failed", True)


async def test_an_account_that_was_closed_has_expired_credentials(
    cloud: tuple[Cloud, str], tmp_path: Path
) -> None:
    made, url = cloud
    made.closed = True
    check = await checked_vertex(url)
    assert (check.status, "have expired or were refused" in check.found) == ("failed", True)
    made.closed = False
    account = tmp_path / "account.json"
    nowhere = {**json.loads(account.read_text()), "token_uri": "http://127.0.0.1:9/token"}
    account.write_text(json.dumps(nowhere))
    check = await checked_vertex(url)
    assert (check.status, "does not answer" in check.found) == ("failed", True)
