"""Probe of an embeddings endpoint at the start: its dimension, and the scripts it tells apart.

What was found is kept in the data directory, so that a server starts while its endpoint is away.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np

from cacheserver.embedding.endpoint import PROBE_TEXT, Endpoint, ask, script_of
from cacheserver.embedding.limited_client import LimitedClient
from cacheserver.index.errors import EmbedderFailed, Refused
from cacheserver.index.models import Vectors

_FILE = "embedder.json"
_FORMAT = 1
_STARTS_S = 30.0  # a model is loaded at the first call, by some servers
# Two plain questions of different subjects for each script. A model that lacks the script sees
# unknown pieces in both, and gives them nearly the same vector.
_SCRIPTS = (
    (PROBE_TEXT, "Where does my sister live?"),
    ("Сколько стоит хлеб?", "Где живёт моя сестра?"),
    ("Πόσο κάνει το ψωμί;", "Πού μένει η αδερφή μου;"),
    ("كم سعر الخبز؟", "أين تسكن أختي؟"),
    ("כמה עולה הלחם?", "איפה גרה אחותי?"),
    ("रोटी कितने की है?", "मेरी बहन कहाँ रहती है?"),
    ("রুটির দাম কত?", "আমার বোন কোথায় থাকে?"),
    ("ரொட்டியின் விலை என்ன?", "என் சகோதரி எங்கே வசிக்கிறாள்?"),
    ("ขนมปังราคาเท่าไร", "น้องสาวของฉันอาศัยอยู่ที่ไหน"),
    ("面包多少钱", "我的姐姐住在哪里"),
    ("ぱんはいくらですか", "いもうとはどこにすんでいますか"),
    ("パンハイクラデスカ", "イモウトハドコニスンデイマスカ"),
    ("빵은 얼마예요?", "내 동생은 어디에 살아요?"),
    ("რა ღირს პური?", "სად ცხოვრობს ჩემი და?"),
    ("Ինչ արժե հացը?", "Որտեղ է ապրում քույրս?"),
)
_APART = 0.98  # cosine of the two questions, from which on a model does not tell them apart


@dataclass(frozen=True, slots=True)
class Probed:
    """Properties of an endpoint's model."""

    dim: int
    scripts: tuple[str, ...]
    probe: tuple[float, ...]  # vector of `PROBE_TEXT`

    @property
    def vector(self) -> Vectors:
        return np.array(self.probe, np.float32)


def probe(client: LimitedClient, endpoint: Endpoint) -> Probed:
    """Ask the endpoint. Raises `EmbedderFailed`."""
    texts = [text for pair in _SCRIPTS for text in pair]
    try:
        vectors = ask(client, endpoint, texts)
    except Refused as refused:  # all are plain questions
        raise EmbedderFailed(str(refused)) from refused
    scripts = tuple(
        script_of(one[0])
        for at, (one, _) in enumerate(_SCRIPTS)
        if float(vectors[2 * at] @ vectors[2 * at + 1]) < _APART
    )
    if "LATIN" not in scripts:
        raise EmbedderFailed("the endpoint gives unlike questions the same vector")
    return Probed(vectors.shape[1], scripts, tuple(round(float(x), 6) for x in vectors[0]))


def recall(data_dir: Path, id: str) -> Probed | None:
    """Return what was kept of an embedder; None if nothing was, or it cannot be read."""
    try:
        found = json.loads((data_dir / _FILE).read_bytes())
        about = found["endpoints"][id]
        dim, numbers = int(about["dim"]), tuple(float(x) for x in about["probe"])
        whole = len(numbers) == dim and all(map(isfinite, numbers))
        return Probed(dim, tuple(about["scripts"]), numbers) if whole else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def keep(data_dir: Path, id: str, probed: Probed) -> None:
    """Keep it, beside those of other embedders. Raises `OSError`."""
    endpoints = {}
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        endpoints = dict(json.loads((data_dir / _FILE).read_bytes())["endpoints"])
    endpoints[id] = asdict(probed)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=data_dir, prefix=f".{_FILE}-")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump({"format": _FORMAT, "endpoints": endpoints}, file)
        Path(fresh).replace(data_dir / _FILE)
    except OSError:
        Path(fresh).unlink(missing_ok=True)
        raise


def starting(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with a start's patience."""
    return replace(endpoint, timeout_s=max(_STARTS_S, endpoint.timeout_s))
