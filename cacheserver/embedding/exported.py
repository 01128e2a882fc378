"""Exported models: finds the export of the model that the settings name, or has it made."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

from cacheserver.core.errors import SettingsError
from cacheserver.index import export
from cacheserver.index.errors import ExportFailed
from cacheserver.index.export import MINILM
from cacheserver.index.models import MANIFEST

logger = logging.getLogger(__name__)

_FOLDER = "models"  # in the data directory
_PACKAGE = "cacheserver_models"  # built by `scripts/build_models`; holds a folder `minilm`


def minilm_folder(model_dir: Path | None, data_dir: Path) -> Path | None:
    """Return the folder of the default model; None if none is named and none is there.

    It is the one that is named, else the one in the data directory, else that of the package
    `cacheserver-models`.
    """
    if model_dir is not None:
        return model_dir
    own = data_dir / "model"
    if own.is_dir():
        return own
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / MINILM


def exported_folder(embedder: str, data_dir: Path) -> Path:
    """Return the exported model's folder; a model not exported yet is, in a process of its own.

    Raises `SettingsError`.
    """
    named = Path(embedder)
    if (named / MANIFEST).is_file():
        return named
    is_path = named.is_dir() or embedder.startswith(("/", ".", "~"))
    model = str(named) if is_path else embedder
    to = data_dir / _FOLDER / _slug(str(named.resolve()) if is_path else embedder)
    is_exported = (to / MANIFEST).is_file()
    if is_path and not named.is_dir() and not is_exported:
        raise SettingsError(f"`CACHESERVER_EMBEDDER`: `{embedder}` is not a folder")
    if is_exported and not (named.is_dir() and _changed(to, named)):
        return to
    state = "has changed since it was exported" if is_exported else "is not exported yet"
    command = f"python -m cacheserver.index.export --model {model} --to {to}"
    if importlib.util.find_spec("sentence_transformers") is None:
        raise SettingsError(
            f"`CACHESERVER_EMBEDDER`: `{embedder}` {state}, and the `models` extra, "
            f"which exports it, is not installed. Where it is, run `{command}`; then set "
            "`CACHESERVER_EMBEDDER` to the folder it wrote"
        )
    level = logging.WARNING if is_exported else logging.INFO
    logger.log(level, "the embedding model %s: %s", state, command)
    done = subprocess.run(  # the serving process never imports torch
        [sys.executable, "-m", export.__name__, "--model", model, "--to", str(to)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise SettingsError(f"`CACHESERVER_EMBEDDER`: {last[0] if last else 'the export failed'}")
    return to


def _changed(to: Path, model: Path) -> bool:
    """Return whether the model is another one, or used in another way, than was exported to `to`.

    Nobody knows of a folder that holds no model any more: serving needs the export alone.
    """
    try:
        return not export.is_current(to, model)
    except ExportFailed as problem:
        logger.warning("the export of before is used: %s", problem)
        return False


def _slug(model: str) -> str:
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in Path(model).name)
    return f"{name}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
