"""Model card: what the files of a sentence-transformers model say about using it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cacheserver.index.errors import ExportFailed
from cacheserver.index.models import file_hash

MODULES = "modules.json"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_TEXT_MODULES = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Use of a model as its files describe it."""

    pooling: str  # "mean", "cls", ...
    prefix: str  # the prompt for questions, put before every text
    lower: bool  # texts are lower-cased first
    weights: str  # hex SHA-256
    weights_bytes: int


def read_card(folder: Path) -> ModelCard:
    """Read a model's folder. Raises `ExportFailed` if it holds no sentence-transformers model.

    The prefix is the default prompt, else the one called "query". Questions are compared with
    questions, so both sides get it.
    """
    modules = _json(folder / MODULES)
    if not isinstance(modules, list) or not modules:
        raise ExportFailed(f"`{folder}` holds no sentence-transformers model: no `{MODULES}`")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if strange := set(kinds).difference(_TEXT_MODULES):
        raise ExportFailed(f"`{folder}` has a module that is not supported: {min(strange)}")
    if "Pooling" not in kinds:
        raise ExportFailed(f"`{folder}` has no pooling: it makes no vector of a text")
    pooling = _object(folder / str(modules[kinds.index("Pooling")]["path"]) / "config.json")
    about = _object(folder / "config_sentence_transformers.json")
    found = [sorted(folder.rglob(form)) for form in _WEIGHTS]
    files = next((listed for listed in found if listed), None)
    if files is None:
        raise ExportFailed(f"`{folder}` holds no weights")
    return ModelCard(
        pooling=_pooling(pooling),
        prefix=_prefix(about),
        lower=bool(_object(folder / "sentence_bert_config.json").get("do_lower_case")),
        weights=_hash(files),
        weights_bytes=sum(file.stat().st_size for file in files),
    )


def _pooling(config: Mapping[str, Any]) -> str:
    mode = config.get("pooling_mode")
    if isinstance(mode, str):
        return mode
    names = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "last"}
    on = [
        names.get(name.removeprefix("pooling_mode_"), name.removeprefix("pooling_mode_"))
        for name, value in config.items()
        if name.startswith("pooling_mode_") and value is True
    ]
    return "+".join(on) or "mean"


def _prefix(about: Mapping[str, Any]) -> str:
    prompts = about.get("prompts") or {}
    return str(prompts.get(about.get("default_prompt_name")) or prompts.get("query") or "")


def _hash(files: list[Path]) -> str:
    if len(files) == 1:
        return file_hash(files[0])
    return hashlib.sha256("".join(map(file_hash, files)).encode()).hexdigest()


def _object(file: Path) -> Mapping[str, Any]:
    found = _json(file)
    return found if isinstance(found, dict) else {}


def _json(file: Path) -> Any:
    """Return what the file holds; None if there is none. Raises `ExportFailed` if it is no JSON."""
    try:
        return json.loads(file.read_bytes())
    except OSError:
        return None
    except ValueError as problem:
        raise ExportFailed(f"`{file}` is not valid JSON") from problem
