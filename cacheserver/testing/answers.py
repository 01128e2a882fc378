"""Canned answers: which one a request gets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from cacheserver.simulated import Directives, Fault
from cacheserver.simulated.directives import last_text

# A text; what JSON can hold, answered as JSON; a reply in full; None: the next answer that fits.
Answered: TypeAlias = "str | Mapping[str, Any] | Sequence[Any] | Directives | None"
# Gets the body of the request.
AnswerFunction: TypeAlias = Callable[[Mapping[str, Any]], Answered]


@dataclass(frozen=True, slots=True)
class _Canned:
    to: str | re.Pattern[str] | None
    answer: Answered | AnswerFunction

    def fits(self, text: str) -> bool:
        if self.to is None:
            return True
        if isinstance(self.to, str):
            return " ".join(self.to.split()) == " ".join(text.split())
        return self.to.search(text) is not None


class Answers:
    """Answers by question. The latest one that fits is given."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []  # of functions of the test
        self._canned: list[_Canned] = []

    def add(self, answer: Answered | AnswerFunction, to: str | re.Pattern[str] | None) -> None:
        """Answer what `to` fits: the last user text, or a pattern found in it; None: everything."""
        self._canned.append(_Canned(to, answer))

    def clear(self) -> None:
        self._canned.clear()
        self.errors.clear()

    def choose(self, body: Mapping[str, Any]) -> Directives | None:
        """Return the reply to a request; None if no answer fits."""
        text = last_text(body)
        for canned in reversed(self._canned):
            if not canned.fits(text):
                continue
            try:
                answer = canned.answer(body) if callable(canned.answer) else canned.answer
                if (reply := _reply(answer)) is not None:
                    return reply
            except Exception as error:  # it is the test's, which gets it at the end
                self.errors.append(error)
                return Directives(fault=Fault("error", status=500, should_retry=False))
        return None


def _reply(answer: Answered) -> Directives | None:
    if answer is None or isinstance(answer, Directives):
        return answer
    return Directives(text=answer if isinstance(answer, str) else json.dumps(answer))
