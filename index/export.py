"""Exports a sentence-transformers model to ONNX, once, kept on disk.

`python -m cacheserver.index.export --to DIR [--model FOLDER_OR_NAME]`. Without `--model` it is
all-MiniLM-L6-v2, which needs the `[minilm]` extra and the weights' package; any other model needs
the `[models]` extra.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cacheserver.index import batched_graph, minilm_model, onnx_graph, onnx_simplify
from cacheserver.index.errors import ExportFailed, ModelDamaged
from cacheserver.index.minilm_model import WEIGHTS_SHA256, MinilmOriginal
from cacheserver.index.model_card import ModelCard, read_card
from cacheserver.index.models import (
    BATCHED,
    FORMAT,
    MANIFEST,
    MODEL,
    TOKENIZER,
    Manifest,
    OnnxEmbedder,
    file_hash,
    read_manifest,
)
from cacheserver.index.original import Original
from cacheserver.index.traced_model import TracedOriginal

PRIOR = "prior.json"  # written by `scripts/fit_prior` beside the model
MINILM = "minilm"
INT8, FP32 = "int8-per-channel", "fp32"
# Weights, quantisation, pooling. Whoever changes the recipe changes the name.
EMBEDDER_ID = f"all-MiniLM-L6-v2:{WEIGHTS_SHA256[:12]}:{INT8}:mean"
# Most that int8 may move a vector, as a share of the distance between two unlike questions: a
# cosine of 0.96 to the original for MiniLM, of 0.99 for multilingual-e5-small. 0.02 was measured.
MOST_DRIFT = 0.04

_OLD = "verifier"  # a second model, which version 0.1 made inside the folder
_OURS = {MANIFEST, MODEL, TOKENIZER, BATCHED, PRIOR, _OLD}
_WEIGHTS_ON_DISK = 3  # the float32 graph, the quantised ones, and room
_UNUSED = ("onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.gguf")  # of a hub's folder


@dataclass(frozen=True, slots=True)
class _Source:
    folder: Path
    name: str
    is_minilm: bool = False


def export(to: Path, model: str = MINILM) -> Manifest:
    """Make the model in the folder `to` unless an intact one is there; return what it holds.

    `model` is `minilm`, a folder, or a name that the Hugging Face hub or its cache on this machine
    knows. Takes seconds, for a large model a minute. Raises `ExportFailed`; then `to` is as it was.
    """
    try:
        found = read_manifest(to)
    except ModelDamaged:
        found = None
    if model == MINILM and found is not None and found.id == EMBEDDER_ID:
        return found if _is_batched(found, to) else _add_batched(to)
    source = _source(model)
    card = read_card(source.folder)
    if found is not None and _made_of(found, source.name, card):
        return found
    _refuse_foreign(to)
    _check_room(to, card)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as scratch:
            made = Path(scratch) / "new"
            made.mkdir()
            _make(source, card, made, Path(scratch))
            return _install(made, to, Path(scratch))
    except OSError as problem:
        raise ExportFailed(f"`{to}` cannot be written: {problem.strerror or problem}") from problem


def is_current(to: Path, model: Path) -> bool:
    """Return whether `to` is an intact export of the model in a folder, as that is now.

    Raises `ExportFailed` if the folder holds no model.
    """
    card = read_card(model)
    try:
        return _made_of(read_manifest(to), model.resolve().name, card)
    except ModelDamaged:
        return False


def _made_of(found: Manifest, name: str, card: ModelCard) -> bool:
    ids = [f"{_base(name, card)}:{kind}:{card.pooling}" for kind in (INT8, FP32)]
    return found.id in ids and (found.prefix, found.lower) == (card.prefix, card.lower)


def _base(name: str, card: ModelCard) -> str:
    return f"{name}:{card.weights[:12]}"


def _refuse_foreign(to: Path) -> None:
    """Raise if `to` holds anything but the remains of an export: it is about to be replaced."""
    if to.exists() and (not to.is_dir() or {p.name for p in to.iterdir()} - _OURS):
        raise ExportFailed(f"`{to}` holds other files; name an empty or a new folder")


def _check_room(to: Path, card: ModelCard) -> None:
    """Raise if the disk has no room for the export."""
    there = next(folder for folder in (to, *to.absolute().parents) if folder.exists())
    free, needed = shutil.disk_usage(there).free, _WEIGHTS_ON_DISK * card.weights_bytes
    if free < needed:
        raise ExportFailed(
            f"`{to}` has no room: the export needs {needed >> 20} MiB, {free >> 20} MiB are free"
        )


def _source(model: str) -> _Source:
    """Find a model's files. Raises `ExportFailed`."""
    if model == MINILM:
        return _Source(minilm_model.find(), "all-MiniLM-L6-v2", is_minilm=True)
    folder = Path(model)
    with contextlib.suppress(RuntimeError):  # nobody has that home: refused below
        folder = folder.expanduser()
    if folder.is_dir():
        return _Source(folder, folder.resolve().name)
    if folder.exists() or model.startswith(("/", ".", "~")):
        raise ExportFailed(f"`{model}` is not a folder")
    return _Source(_from_hub(model), model.rpartition("/")[2])


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as problem:
        raise ExportFailed("the `[models]` extra is not installed") from problem
    full = name if "/" in name else f"sentence-transformers/{name}"
    try:
        return Path(snapshot_download(full, ignore_patterns=list(_UNUSED)))
    except Exception as problem:  # the hub's client raises its own errors and its HTTP library's
        raise ExportFailed(
            f"`{name}` is no folder, and the Hugging Face hub gave no model of that name "
            f"({type(problem).__name__})"
        ) from problem


def _make(source: _Source, card: ModelCard, made: Path, scratch: Path) -> None:
    """Write model, tokeniser and manifest into `made`."""
    original: Original
    original = MinilmOriginal(source.folder) if source.is_minilm else TracedOriginal(source.folder)
    original.write_tokenizer(made / TOKENIZER)
    about: dict[str, Any] = {
        "format": FORMAT,
        "id": "",
        "dim": original.dim,
        "window": original.window,
        "prefix": card.prefix,
        "unknown": original.unknown,
        "lower": card.lower,
        "source": source.name,
    }
    base = _base(source.name, card)

    def candidate(kind: str) -> onnx_graph.Fidelity:
        about["id"] = f"{base}:{kind}:{card.pooling}"
        about["files"] = {name: file_hash(made / name) for name in (MODEL, TOKENIZER)}
        (made / MANIFEST).write_text(json.dumps(about, indent=2) + "\n")
        return onnx_graph.fidelity(original, OnnxEmbedder(made), card.prefix)

    for _ in original.graphs(made / MODEL):
        plain = candidate(FP32)
        if onnx_graph.is_exact(plain):
            break
    else:
        raise ExportFailed("the graph does not compute what the original model does")
    shutil.move(made / MODEL, scratch / MODEL)
    onnx_graph.quantise(scratch / MODEL, made / MODEL)
    probes = onnx_simplify.probes(original.vocabulary, original.window)
    onnx_simplify.simplify(made / MODEL, scratch, probes)
    small = candidate(INT8)
    about["fidelity"] = asdict(small)
    if not small.drift <= MOST_DRIFT:
        if source.is_minilm:  # its prior and weights were fitted to int8
            raise ExportFailed(f"the exported model drifted: cosine {small.cosine:.3f} at worst")
        shutil.move(scratch / MODEL, made / MODEL)
        onnx_simplify.simplify(made / MODEL, scratch, probes)
        about["fidelity"] = {
            **asdict(plain), "int8_cosine": small.cosine, "int8_drift": small.drift
        }  # fmt: skip
        candidate(FP32)
    (made / MANIFEST).write_text(json.dumps(about, indent=2) + "\n")
    if source.is_minilm:  # graphs of others have more forms than are understood
        _add_batched(made)


def _is_batched(found: Manifest, folder: Path) -> bool:
    """Return True if the graph for several texts is there, or cannot be made here."""
    if importlib.util.find_spec("onnx") is None:
        return True
    file = folder / BATCHED
    return file.is_file() and file_hash(file) == found.files.get(BATCHED)


def _add_batched(folder: Path) -> Manifest:
    """Add the graph for several texts a run to a model, if it has the same vectors."""
    found = read_manifest(folder)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch) / "new"
        shutil.copytree(folder, made)
        try:
            batched_graph.write(made / MODEL, made / BATCHED)
        except batched_graph.NotUnderstood:
            return found
        about = json.loads((made / MANIFEST).read_bytes())
        about["files"][BATCHED] = file_hash(made / BATCHED)
        (made / MANIFEST).write_text(json.dumps(about, indent=2) + "\n")
        if onnx_graph.batched_difference(OnnxEmbedder(made)) > onnx_graph.MOST_DIFFERENCE:
            return found
        # The graph first: a manifest that names it is one of a folder that has it.
        (made / BATCHED).replace(folder / BATCHED)
        (made / MANIFEST).replace(folder / MANIFEST)
    return read_manifest(folder)


def _install(made: Path, to: Path, scratch: Path) -> Manifest:
    """Move the finished folder into place; whoever finished first wins."""
    if to.exists():
        _keep_prior(to / PRIOR, made)
        to.rename(scratch / "old")
    try:
        made.rename(to)
    except OSError:
        if not to.is_dir():
            raise
        # Another process exported at the same time. Its model is as good as ours.
    return read_manifest(to)


def _keep_prior(prior: Path, made: Path) -> None:
    """Copy the old export's prior if it was fitted for the same model: fitting takes long."""
    try:
        fitted_for = str(json.loads(prior.read_bytes())["embedder"])
    except (OSError, ValueError, LookupError, TypeError):
        return
    id = read_manifest(made).id
    if fitted_for == id or fitted_for.startswith(f"{id}:prefix-"):
        shutil.copyfile(prior, made / PRIOR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m cacheserver.index.export", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="the folder to write")
    parser.add_argument(
        "--model", default=MINILM, help="a sentence-transformers model: its folder or its name"
    )
    options = parser.parse_args(arguments)
    try:
        manifest = export(options.to, options.model)
    except ExportFailed as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(
        f"{options.to}: {manifest.id}, {manifest.dim} dimensions, {manifest.window} pieces\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
