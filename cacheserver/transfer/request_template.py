"""The request that an application sends, with a place for the question. Pure.

The identity of a request is all of its body and some headers (`cache.fingerprint`), so an answer
from elsewhere is found only if it is stored under the request that will be sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cacheserver.cache import fingerprint
from cacheserver.core.errors import BadRequest

PLACE: Final = "{question}"  # in the last user text, where the question belongs


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """A Messages body whose last text asks `before` + question + `after`."""

    body: Mapping[str, Any]
    before: str
    after: str

    def asking(self, question: str) -> dict[str, Any]:
        """Return the body that asks a question."""
        *earlier, last = self.body["messages"]
        text = f"{self.before}{question}{self.after}"
        content = last["content"]
        if isinstance(content, list):
            content = [*content[:-1], {**content[-1], "text": text}]
        else:
            content = text
        return {**self.body, "messages": [*earlier, {**last, "content": content}]}


def read_template(body: Mapping[str, Any]) -> RequestTemplate:
    """Read a Messages body; the last user text is the question's, or has `{question}` in it.

    A body without `messages` has the question alone. Raises `BadRequest` naming the field.
    """
    if body.get("messages") is None:
        body = {**body, "messages": [{"role": "user", "content": PLACE}]}
    fingerprint.check(body)
    text = _last_text(body["messages"][-1])
    if text is None:
        raise BadRequest("request.messages", "must end with a text of the user: the question")
    before, place, after = text.partition(PLACE)
    if PLACE in after:
        raise BadRequest("request.messages", f"has `{PLACE}` more than once")
    return RequestTemplate(body, before if place else "", after)


def _last_text(message: Mapping[str, Any]) -> str | None:
    content = message["content"] if message["role"] == "user" else None
    if isinstance(content, list):
        last = content[-1] if content else {}
        content = last["text"] if last.get("type") == "text" else None
    return content
