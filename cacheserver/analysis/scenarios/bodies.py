"""Requests to Claude with made-up texts of a stated length.

The words of a question are the scenario's; what fills prompts, documents and answers says nothing.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.scenarios.scenario import TIERS, Kind, Shared
from cacheserver.analysis.scenarios.traffic import Ask, Question, drawn
from cacheserver.core.rules.routing import Tiers
from cacheserver.core.types import Usage
from cacheserver.pricing.estimate import chars_per_token

_FILL = "The report lists each item with its name, its place and its value, one after the other. "
_SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu")
_OPENERS = ("Could you tell me:", "I would like to know:", "A question:", "Please help:")


@dataclass(frozen=True, slots=True)
class _Turn:
    """A question with its answer's length, in tokens."""

    text: str
    asked: int
    answer: int
    document: int


@dataclass(slots=True)
class Bodies:
    """Factory of calls from asks, with the models behind the tiers."""

    seed: int
    tiers: Tiers
    _fill: dict[int, str] = field(default_factory=dict)

    def call(self, ask: Ask, *, body: bool) -> Call:
        """Return the call. Without `body` it has its usage only: an equal one was read before."""
        kind, first, last = ask.kind, ask.questions[0], ask.questions[-1]
        model = self._model(kind, first)
        turns = [self._turn(kind, one, at == 0) for at, one in enumerate(ask.questions)]
        before = sum(one.asked + one.answer + one.document for one in turns[:-1])
        mine = turns[-1]
        prompt = kind.system.tokens + kind.tools.tokens + before + mine.asked + mine.document
        return Call(
            at=ask.at,
            model=model,
            usage=Usage(prompt, mine.answer),
            body=self._body(kind, first, model, turns) if body else None,
            stream=not kind.waits,
            source=f"{kind.name}:{last.topic}:{last.wording}",
        )

    def _model(self, kind: Kind, first: Question) -> str:
        names = list(kind.model)
        random = self._random(kind, first, "model")
        (name,) = random.choices(names, weights=list(kind.model.values()))
        return str(getattr(self.tiers, name)) if name in TIERS else name

    def _turn(self, kind: Kind, question: Question, begins: bool) -> _Turn:
        random = self._random(kind, question, "length")
        asked, answer = drawn(kind.question, random), drawn(kind.output, random)
        has = begins and kind.document is not None
        document = drawn(kind.document, random) if has and kind.document is not None else 0
        return _Turn(_worded(kind, question), asked, answer, document)

    def _random(self, kind: Kind, question: Question, what: str) -> Random:
        name = f"{self.seed}:{kind.name}:{question.topic}:{question.wording}:{what}"
        return Random(zlib.crc32(name.encode()))  # a string would be hashed with SHA-512, 10 us

    def _body(self, kind: Kind, first: Question, model: str, turns: list[_Turn]) -> dict[str, Any]:
        per = chars_per_token(model)
        messages: list[dict[str, Any]] = []
        for one in turns:
            text = one.text
            if one.document:  # in the same text: an instruction under what it is about
                text = f"{self._text(one.document, per)}\n\n{one.text}"
            messages.append({"role": "user", "content": text})
            messages.append({"role": "assistant", "content": self._text(one.answer, per)})
        del messages[-1]  # the answer that is asked for
        body: dict[str, Any] = {"model": model, "max_tokens": 4_096, "messages": messages}
        if kind.system.tokens:
            body["system"] = self._part(f"Instructions for {kind.name}", kind.system, first, per)
        if kind.tools.tokens:
            about = self._part(f"Tools for {kind.name}", kind.tools, first, per)
            body["tools"] = [
                {"name": "look_up", "description": about, "input_schema": {"type": "object"}}
            ]
        return body

    def _part(self, name: str, shared: Shared, first: Question, per: float) -> str:
        which = zlib.crc32(f"{name}:{first.topic}".encode()) % shared.different
        return f"{name} {word(which)}. {self._text(shared.tokens, per)}"

    def _text(self, tokens: int, per: float) -> str:
        size = max(1, round(tokens * per))
        made = self._fill.get(size)
        if made is None:
            made = (_FILL * (size // len(_FILL) + 1))[:size]
            if len(self._fill) < 1_000:
                self._fill[size] = made
        return made


def word(number: int) -> str:
    """A made-up name for a number, another for each; no digits, which would look like a datum."""
    digits = str(number).zfill(3)
    return "".join(_SYLLABLES[int(digit)] for digit in digits)


def _worded(kind: Kind, question: Question) -> str:
    number = int("".join(c for c in question.topic.replace(".", "0") if c.isdigit()))
    common = "" if question.topic.startswith("u") else "x"  # a common one is nobody's own
    text = kind.questions[number % len(kind.questions)].replace("{}", word(number) + common)
    if question.wording:
        opener = _OPENERS[question.wording % len(_OPENERS)]
        text = f"{opener} {text} ({word(question.wording)})"
    return text
