"""Stored questions of a replay with their answers, packed, and the results of look-ups."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cacheserver.analysis.replay.verification import Chances
from cacheserver.calibration.answers.reader import ReadExchange
from cacheserver.core import json_text
from cacheserver.index.models import Vectors
from cacheserver.matching.decision import ScoredCandidate
from cacheserver.matching.neighbours import Neighbour

_ANSWER_CHARS: Final = 12_000  # kept of an answer: about the words that are read of one


@dataclass(slots=True)
class Stored:
    """A stored question, and what was answered."""

    id: str
    text: str
    answer: bytes | None  # the message, packed; None: not logged
    expires_at: float
    source: str  # where it stands in the log
    group: str
    exchange: ReadExchange | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Result of a lookup: the entry to serve, or the neighbours of a fresh answer."""

    served: Stored | None
    reason: str
    right: bool | None = None  # whether the logged answer says what the served one does
    stands_for: float = 1.0  # hits like it, where only a share is checked
    audit_share: float = 0.0  # of such hits the server would ask again
    vector: Vectors | None = None
    near: Sequence[Neighbour] = ()
    nearest: ScoredCandidate | None = None
    chances: Chances | None = None  # of a model's yes to one of them; None: it would not be asked


def pack_answer(message: Mapping[str, Any] | None) -> bytes | None:
    """Return the text of an answer; of a long one both ends."""
    if message is None:
        return None
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    texts = [b["text"] for b in blocks if isinstance(b, Mapping) and b.get("type") == "text"]
    text = "\n".join(one for one in texts if isinstance(one, str))
    if not text.strip():
        return None
    if len(text) > _ANSWER_CHARS:
        half = _ANSWER_CHARS // 2
        text = f"{text[:half]} {text[-half:]}"
    kept = {"content": [{"type": "text", "text": text}]}
    return zlib.compress(json_text.dumps(kept), 1)
