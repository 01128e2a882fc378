"""The simulated Claude itself: its state, and how it answers one request. No HTTP."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cacheserver.simulated import (
    catalogue,
    code_run,
    directives,
    promptcache,
    reply,
    signatures,
    validation,
    verification,
)
from cacheserver.simulated.batches import Batches
from cacheserver.simulated.books import ChargeLog
from cacheserver.simulated.caller import Caller
from cacheserver.simulated.catalogue import Model
from cacheserver.simulated.directives import Directives, Fault
from cacheserver.simulated.errors import ApiError
from cacheserver.simulated.faults import Faults
from cacheserver.simulated.promptcache import PromptCache, Use
from cacheserver.simulated.reply import Draft
from cacheserver.simulated.requestlog import RequestLog
from cacheserver.simulated.resources import Resources
from cacheserver.simulated.settings import SimulatedSettings


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished message, its prompt-cache use, and its fault."""

    message: Mapping[str, Any]
    use: Use
    fault: Fault | None
    question: str  # digest of the text it answers


class Claude:
    """One simulated Claude."""

    def __init__(self, settings: SimulatedSettings) -> None:
        self.settings = settings
        self.log = RequestLog(settings.kept_requests, settings.kept_bytes)
        self.faults = Faults()
        self.books = ChargeLog()
        self.batches = Batches(self._batched, batch_s=settings.batch_s, cancel_s=settings.cancel_s)
        self.resources = Resources()
        self._prompts = PromptCache()

    def answer(self, body: Any, caller: Caller, *, now: float, batched: bool = False) -> Answer:
        """Return the answer to a request that starts at `now`. Raises `ApiError`.

        Nothing is written to the prompt cache before `begin`.
        """
        valid, model = validation.check(body, version=caller.version, batched=batched)
        asked = self._directives(valid)
        seen = signatures.readable(valid, model, caller.account)
        use = self._prompts.look(promptcache.read(seen, model, owner=caller.owner), now=now)
        draft = reply.compose(seen, model, caller.account, asked)
        tier = "batch" if batched else "standard"
        message = _message(draft, valid, model, use, tier=tier, origin=_origin(asked))
        _add_steps(message["usage"], asked.steps)
        if asked.code:
            code_run.add(message, valid, self.resources, caller, now=now)
        text = directives.last_text(valid)
        return Answer(message, use, asked.fault, hashlib.sha256(text.encode()).hexdigest()[:16])

    def begin(self, answer: Answer, *, now: float) -> None:
        """Record that an answer is given: the only place where a request is charged."""
        self._prompts.keep(answer.use)
        self.books.charge(answer.message, now, answer.question)

    def reset(self) -> None:
        """Forget requests, faults, batches, cached prompts and what was charged."""
        self.log.clear()
        self.faults.clear()
        self.books.clear()
        self.batches.clear()
        self.resources.clear()
        self._prompts.clear()

    def _directives(self, body: Mapping[str, Any]) -> Directives:
        # Questions that are compared in a verification may hold directives: there they are data.
        asked = Directives() if verification.reply(body) is not None else directives.read(body)
        if asked == Directives() and self.settings.direct is not None:
            return self.settings.direct(body) or asked
        return asked

    def _batched(self, params: Any, caller: Caller, now: float) -> Mapping[str, Any]:
        try:
            answer = self.answer(params, caller, now=now, batched=True)
            if answer.fault is not None and answer.fault.kind == "error":
                raise ApiError(answer.fault.status, "A simulated fault.")
        except ApiError as error:
            return {"type": "errored", "error": error.body(request_id())}
        self.begin(answer, now=now)
        return {"type": "succeeded", "message": answer.message}


def request_id() -> str:
    """Return a fresh id, marked as simulated."""
    return f"req_sim{secrets.token_hex(10)}"


def _origin(asked: Directives) -> str:
    """Return the part of an id that says if a test directed the text ("directed").

    The id goes where the answer goes, streamed, batched or through a proxy, and nobody who asks
    can choose it: so a cache can tell what it must not learn from.
    """
    if asked.pause or any(x is not None for x in (asked.text, asked.tool, asked.refusal)):
        return ""
    return "echo" if asked.words is None else "prose"


def _message(
    draft: Draft,
    body: Mapping[str, Any],
    model: Model,
    use: Use,
    *,
    tier: str,
    origin: str,
) -> dict[str, Any]:
    searches = {"web_search_requests": draft.web_searches, "web_fetch_requests": 0}
    return {
        "id": f"msg_sim{origin}{secrets.token_hex(10)}",
        "type": "message",
        "role": "assistant",
        "model": model.id,
        "content": draft.content,
        "stop_reason": draft.stop_reason,
        "stop_sequence": draft.stop_sequence,
        "stop_details": draft.stop_details,
        "usage": {
            "input_tokens": use.input_tokens,
            "cache_creation_input_tokens": use.written_5m_tokens + use.written_1h_tokens,
            "cache_read_input_tokens": use.read_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": use.written_5m_tokens,
                "ephemeral_1h_input_tokens": use.written_1h_tokens,
            },
            "output_tokens": draft.output_tokens,
            "output_tokens_details": {"thinking_tokens": draft.thinking_tokens},
            "server_tool_use": searches if draft.web_searches else None,
            "service_tier": tier,
            "inference_geo": body.get("inference_geo") or "global",
            "speed": body.get("speed") or "standard",
        },
    }


def _add_steps(usage: dict[str, Any], models: Sequence[str]) -> None:
    """Put `iterations` into a usage: a step of each model, then the answer itself."""
    if not models:
        return
    names = ("input_tokens", "output_tokens", "cache_creation_input_tokens")
    own = {name: usage[name] for name in (*names, "cache_read_input_tokens", "cache_creation")}
    none = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
    usage["iterations"] = [
        *(
            {
                **dict.fromkeys(own, 0),
                "type": "advisor_message",
                "model": catalogue.find(model).id,
                "input_tokens": usage["input_tokens"] + place,
                "output_tokens": 10 + place,
                "cache_creation": none,
            }
            for place, model in enumerate(models)
        ),
        {**own, "type": "message"},
    ]
