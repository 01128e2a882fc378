"""Checks of the files to deploy with, against the schemas of their formats.

compose.yaml by its specification; the Helm chart by lint, by what it renders and what it refuses.
`scripts/check_deployment` runs this in an environment that has the tools.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_CHART = _ROOT / "docs" / "deploy" / "helm" / "cacheserver"
_SIZES = _ROOT / "docs" / "deploy" / "sizes"  # values of docs/scaling.md
_KUBERNETES = ("1.27.0", "1.34.0", "1.37.0")  # old and new
_WARNING = 2  # Helm's severity; 1 is information
_KEY = {"adminKey": "a-key-of-the-admin"}
_REDIS = {"redis": {"enabled": True, "url": "redis://redis:6379"}}
_VALUES: dict[str, dict[str, Any]] = {
    "embedded store": _KEY,
    "two on a Redis": {**_KEY, **_REDIS, "replicas": 2, "anthropicApiKey": "sk-ant-test"},
    "everything chosen": {
        **_REDIS,
        "existingSecret": "mine",
        "firstTenant": "",
        "env": {
            "CACHESERVER_MAX_BYTES": 2_000_000_000,
            "CACHESERVER_INDEX_REDIS_URL": "redis://vectors:6379",
            "CACHESERVER_SIMILARITY": 0.95,
            "CACHESERVER_KEYS": True,
            "CACHESERVER_UPSTREAM": "https://claude.example",
        },
        "persistence": {"size": "1Gi", "storageClass": "fast"},
        "networkPolicy": {
            "from": [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}],
            "redisPorts": [6379, 26379],
        },
        "podAnnotations": {"team": "shop"},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
    },
}
_REFUSED: dict[str, dict[str, Any]] = {
    "adminKey": {},
    "redis": {**_KEY, "replicas": 2},
    "redis.url": {**_KEY, "redis": {"enabled": True}},
}


def main() -> int:
    """Print what is wrong; return the exit status."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    wrong = [*_compose(), *_chart()]
    sys.stdout.writelines(f"{one}\n" for one in wrong)
    return 1 if wrong else 0


def _compose() -> list[str]:
    from compose_spec import PyCompose

    try:
        PyCompose.from_yaml(interpolated((_ROOT / "compose.yaml").read_text(), {})).to_spec()
    except ValueError as error:
        return [f"compose.yaml: {error}"]
    return []


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """Return the text with each `${NAME:-default}` replaced, as Compose does."""
    return re.sub(r"\$\{(\w+):-(.*?)\}", lambda found: environ.get(found[1]) or found[2], text)


def _chart() -> list[str]:
    import kubernetes_validate
    import yaml
    from helm_python import Chart, chart

    wrong: list[str] = []
    report = chart.lint(_CHART, _KEY, strict=True)
    wrong += [f"lint: {one['error']}" for one in report["messages"] if one["severity"] >= _WARNING]
    loaded = Chart.load(_CHART)
    sizes = {one.name: yaml.safe_load(one.read_text()) for one in sorted(_SIZES.glob("*.yaml"))}
    for name, values in {**_VALUES, **sizes}.items():
        rendered = loaded.render(values, name="answers", namespace="shop")
        texts = [text for path, text in rendered.items() if path.endswith(".yaml")]
        objects = [one for text in texts for one in yaml.safe_load_all(text) if one]
        for one in objects:
            for version in _KUBERNETES:
                try:
                    kubernetes_validate.validate(one, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    wrong.append(f"{name}, {one['kind']}, {version}: {error.message}")
            variables = [variable["name"] for variable in _environment(one)]
            if len(variables) > len(set(variables)):
                wrong.append(f"{name}: a variable is there twice: {variables}")
        for variable, given in values.get("env", {}).items():
            told = given if isinstance(given, str) else json.dumps(given)
            if not any({"name": variable, "value": told} in _environment(one) for one in objects):
                wrong.append(f"{name}: {variable} is not {told} in the container")
        sys.stdout.write(f"{name}: {', '.join(sorted(one['kind'] for one in objects))}\n")
    for names, values in _REFUSED.items():
        try:
            loaded.render(values, name="answers", namespace="shop")
            wrong.append(f"rendered without {names}")
        except Exception as error:  # Helm's own, by way of a C library
            if names not in str(error):
                wrong.append(f"{names} is not named: {error}")
    return wrong


def _environment(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the variables of a StatefulSet's container; of other objects none."""
    if one["kind"] != "StatefulSet":
        return []
    found: list[dict[str, Any]] = one["spec"]["template"]["spec"]["containers"][0]["env"]
    return found


if __name__ == "__main__":
    sys.exit(main())
