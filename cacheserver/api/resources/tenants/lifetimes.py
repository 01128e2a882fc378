"""`/admin/v1/tenants/{name}/ttl-check`: which rule gives a described request which lifetime."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.admin_act import note_nothing
from cacheserver.api.json_body import json_body
from cacheserver.api.known_names import tenant_of
from cacheserver.api.state import state_of
from cacheserver.cache import controls
from cacheserver.cache.fingerprint import volatility
from cacheserver.cache.ttl import explained
from cacheserver.core.errors import BadRequest, Unknown
from cacheserver.core.types import AUTO, MOST_TTL_S, Controls

router = APIRouter(prefix="/admin/v1/tenants", tags=["admin"])

_MOST_CHARS = 20_000
_TEXT = {"type": "string"}
_FIELDS: dict[str, Any] = {
    "namespace": _TEXT,
    "task": _TEXT,
    "model": {**_TEXT, "description": "As the caller asks for it, `auto` included."},
    "tags": {"type": "array", "items": _TEXT, "maxItems": 16},
    "ttl_s": {"type": "integer", "minimum": 0, "description": "What the caller asks for."},
    "question": {**_TEXT, "maxLength": _MOST_CHARS, "description": "To see if it is volatile."},
}
_BODY = json_body(
    _FIELDS,
    {
        "a volatile question": {"namespace": "news", "question": "What is the weather today?"},
        "a caller's wish": {"task": "summary", "tags": ["prices"], "ttl_s": 86_400},
    },
)


@router.post("/{name}/ttl-check", summary="The lifetime of an answer, by rule", openapi_extra=_BODY)
async def ttl_check(request: Request, name: str) -> dict[str, Any]:
    """Tell how long the answer to such a request would live (`ttl_s`; 0: it is not stored), and
    what decides: `decides` is `caller`, `default`, `maximum`, `volatility`, or a rule as
    `ttl_rules.2`. `default` and `maximum` have the values in force with the rule each comes from
    (null: the tenant's own). Nothing is stored, and Claude is not asked.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    note_nothing(request)
    tenant = await tenant_of(state, name)
    fields = await state.object(request)
    if unknown := fields.keys() - _FIELDS.keys():
        raise Unknown(min(unknown)[:64], "field", min(unknown), _FIELDS)
    model = _text(fields, "model") or AUTO
    life = explained(_controls(fields), tenant, model)
    kind, cap_s = None, None
    if (question := _text(fields, "question")) is not None:
        kind, cap_s = volatility([question], tenant, state.parts.language)
    capped = cap_s is not None and cap_s < life.ttl_s
    if capped:
        decides = "volatility"
    elif life.maximum_s < (life.default_s if not life.asked else fields["ttl_s"]):
        decides = _rule(life.maximum_rule) or "maximum"
    else:
        decides = "caller" if life.asked else _rule(life.default_rule) or "default"
    rules = tenant.ttl_rules
    return {
        "ttl_s": cap_s if capped else life.ttl_s,
        "decides": decides,
        "default": {"ttl_s": life.default_s, "rule": _rule(life.default_rule)},
        "maximum": {"ttl_s": life.maximum_s, "rule": _rule(life.maximum_rule)},
        "volatility": None if kind is None else {"kind": kind, "cap_s": cap_s},
        "rules": [{"rule": _rule(at), **asdict(rule)} for at, rule in enumerate(rules)],
    }


def _controls(fields: dict[str, Any]) -> Controls:
    ttl_s = fields.get("ttl_s")
    if ttl_s is not None and (type(ttl_s) is not int or not 0 <= ttl_s <= MOST_TTL_S):
        raise BadRequest("ttl_s", f"must be a whole number of seconds, 0 to {MOST_TTL_S}")
    tags = fields.get("tags") or []
    if not isinstance(tags, list):
        raise BadRequest("tags", "must be a list of tags")
    namespace, task = fields.get("namespace"), fields.get("task")
    return Controls(
        ttl_s=ttl_s,
        tags=controls.tags("tags", tags),
        namespace="default" if namespace is None else controls.name("namespace", namespace),
        task=None if task is None else controls.name("task", task),
    )


def _text(fields: dict[str, Any], name: str) -> str | None:
    found = fields.get(name)
    if found is not None and not (isinstance(found, str) and len(found) <= _MOST_CHARS):
        raise BadRequest(name, f"must be a text of at most {_MOST_CHARS:,} characters")
    return found


def _rule(at: int | None) -> str | None:
    return None if at is None else f"ttl_rules.{at}"
