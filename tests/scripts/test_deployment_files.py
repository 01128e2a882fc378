"""Files to deploy with name what the server has; `scripts/check_deployment` knows their formats."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cacheserver.api.resources.cache import router
from cacheserver.config.settings import Settings, load
from scripts.deployment_files import interpolated
from tests.models import ROOT

DEPLOY = ROOT / "docs" / "deploy"
CHART = DEPLOY / "helm" / "cacheserver"
FILES = [
    ROOT / "Dockerfile",
    ROOT / "compose.yaml",
    DEPLOY / "cacheserver.service",
    *(path for path in CHART.rglob("*") if path.is_file()),
]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def named(path: Path, pattern: str) -> set[str]:
    return set(re.findall(pattern, path.read_text()))


def test_each_setting_that_is_named_exists() -> None:
    settings = {f"CACHESERVER_{name.upper()}" for name in Settings.model_fields}
    for path in FILES:
        assert named(path, r"CACHESERVER_[A-Z_]+") <= settings, path


def test_each_probe_asks_for_a_route_that_exists() -> None:
    paths = {getattr(route, "path", None) for route in router.routes}
    asked = named(ROOT / "Dockerfile", r"'(/\w+)', timeout") | named(
        CHART / "templates" / "statefulset.yaml", r'path: "?(/\w+)'
    )
    assert asked == {"/healthz", "/readyz"} <= paths


def test_all_run_as_one_user_by_number_and_stop_in_the_same_time() -> None:
    stateful = (CHART / "templates" / "statefulset.yaml").read_text()
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "USER 10001:10001" in dockerfile
    assert named(CHART / "templates" / "statefulset.yaml", r"runAsUser: (\d+)") == {"10001"}
    assert "terminationGracePeriodSeconds: 40" in stateful
    assert "TimeoutStopSec=40" in (DEPLOY / "cacheserver.service").read_text()
    assert compose()["services"]["cacheserver"]["stop_grace_period"] == "40s"


def test_each_key_of_the_secret_that_the_chart_reads_is_told() -> None:
    read = named(CHART / "templates" / "_helpers.tpl", r"secretKeyRef: .*key: ([a-z-]+)")
    assert "redis-url" in read
    for page in (CHART / "values.yaml", ROOT / "docs" / "deploying.md"):
        assert read <= named(page, r"`([a-z-]+)`"), page


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)


@pytest.mark.parametrize(("pod", "made"), [("answers-0", "cs_1\n"), ("answers-1", None)])
def test_the_first_pod_alone_makes_the_first_key(
    tmp_path: Path, pod: str, made: str | None
) -> None:
    text = (CHART / "templates" / "statefulset.yaml").read_text()
    script = text[text.index("- |\n") + 4 : text.index("            - {{ . | quote }}")]
    script = script.replace('{{ include "cacheserver.name" $ }}', "answers")
    programs = {"uname": f"echo {pod}", "cacheserver": '[ "$2" = list ] || echo cs_1'}
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    subprocess.run(
        ["/bin/sh", "-euc", script.replace("/data", str(tmp_path)), "default"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=True,
    )
    key = tmp_path / "first.key"
    assert (key.read_text() if key.exists() else None) == made


def test_each_file_that_compose_mounts_is_there_and_each_secret_is_declared() -> None:
    services = compose()["services"]
    mounts = [mount.split(":")[0] for one in services.values() for mount in one.get("volumes", ())]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert len(files) == 5
    assert all((ROOT / file).is_file() for file in files)
    volumes = {mount for mount in mounts if not mount.startswith("./")}
    assert volumes == compose()["volumes"].keys()
    assert {name for one in services.values() for name in one.get("secrets", ())} == {"admin_key"}


def test_compose_refuses_to_start_grafana_with_its_default_password() -> None:
    for name, service in compose()["services"].items():
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("PASSWORD"):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), (name, variable)
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_compose_gives_each_size_what_its_helm_values_give() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text()
    rows = {
        row[1]: dict(re.findall(r"`(CACHESERVER_\w+)=(.+?)`", row[0]))
        for row in re.finditer(r"^\|.*\(deploy/sizes/(\w+\.yaml)\).*$", page, re.M)
    }
    assert rows.keys() == {path.name for path in (DEPLOY / "sizes").iterdir()}
    for name, told in rows.items():
        helm = yaml.safe_load((DEPLOY / "sizes" / name).read_text())["env"]
        url = told["CACHESERVER_REDIS_URL"].replace("...", "redis:6379")
        given = {**told, "CACHESERVER_REDIS_URL": url}
        by_compose = load(container(given))
        by_helm = load({**helm, "CACHESERVER_REDIS_URL": url})
        differing = {
            field
            for field in Settings.model_fields
            if getattr(by_compose, field) != getattr(by_helm, field)
        }
        assert differing == {"admin_key_file"}, name


def test_compose_publishes_the_server_on_this_machine_unless_told_otherwise() -> None:
    (ports,) = compose()["services"]["cacheserver"]["ports"]
    assert interpolated(ports, {}) == "127.0.0.1:8080:8080"
    told = {"PUBLISH_ADDRESS": "10.0.0.11", "PUBLISH_PORT": "8443"}
    assert interpolated(ports, told) == "10.0.0.11:8443:8080"


def test_compose_reads_each_variable_that_the_page_writes_into_its_file() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text()
    told = set(re.findall(r"^ *([A-Z_]+)=", page[page.index("```ini") :].split("```")[1], re.M))
    read = set(re.findall(r"\$\{(\w+):", (ROOT / "compose.yaml").read_text()))
    assert {"CACHESERVER_REDIS_URL", "PUBLISH_ADDRESS"} <= told <= read


def container(environ: dict[str, str]) -> dict[str, str]:
    """Return the variables of the server's container where Compose is run with `environ`."""
    given = compose()["services"]["cacheserver"]["environment"]
    return {name: interpolated(str(text), environ) for name, text in given.items()}


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found
