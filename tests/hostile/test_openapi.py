"""The description at `/openapi.json` is whole, and the server keeps to it whatever it is sent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from cacheserver.api.admin_page.routes import PAGES
from cacheserver.api.routes import RESOURCES
from tests.house import ADMIN_KEY, House

_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"
_CHECKS += ",response_schema_conformance"


async def test_every_route_is_described_and_says_who_is_let_in(house: House) -> None:
    described = (await house.http.get("/openapi.json")).json()
    pages = {route.path for route in PAGES}  # of the admin page, and its files
    listed = [route for resource in RESOURCES for route in resource.routes]
    for route in (route for route in listed if route.path not in pages):
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}:
            path = route.path.replace("{id:path}", "{id}")
            operation = described["paths"][path][method.lower()]
            assert "422" not in operation["responses"]
            if path in ("/healthz", "/readyz", "/admin/session"):
                assert operation["security"] == []  # no key
                continue
            assert "401" in operation["responses"]
            for scheme in operation["security"]:
                assert scheme.keys() <= described["components"]["securitySchemes"].keys()
                assert all(name.startswith("admin") for name in scheme) == path.startswith(
                    ("/admin", "/metrics")
                )


@pytest.mark.parametrize("tag", ["admin", "others"])
async def test_nothing_that_fits_the_description_or_does_not_is_a_500(
    house: House, tag: str
) -> None:
    """Bounded and always the same: what was found once is found again."""
    key = ADMIN_KEY if tag == "admin" else await house.key("one")
    # A stream of a job's events goes on until the job ends.
    others = ["--exclude-path-regex", "^/admin|^/metrics|/events$"]
    # Live counts go on as long as somebody reads them; wrong keys of `/admin/session` are held up.
    admins = ["--include-path-regex", "^/admin", "--exclude-path-regex", "/v1/live$|/session$"]
    paths = admins if tag == "admin" else others
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{house.url}/openapi.json"),
        *("--checks", _CHECKS, "--phases", "examples,fuzzing", "--max-examples", "6"),
        *("--generation-deterministic", "--no-shrink", "--request-timeout", "20"),
        *("--suppress-health-check", "all", "-H", f"x-api-key: {key}", *paths),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.hostile.jsonl"}
    run = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stdout[-6_000:] + run.stderr[-1_000:]
