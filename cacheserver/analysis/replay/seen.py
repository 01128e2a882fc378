"""A logged request, parsed once: its keys, layout and place in a conversation.

Rule: what is made here depends on the body alone, so each distinct request is read once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cacheserver.analysis.replay.call import Call
from cacheserver.cache import fingerprint
from cacheserver.claude import capabilities
from cacheserver.claude.capabilities import Needs
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.messages.attribution import prompt_of
from cacheserver.core.types import Controls, Query, Route, Tenant
from cacheserver.matching.language import Language
from cacheserver.promptcache import layout as promptcache_layout
from cacheserver.promptcache.layout import Layout
from cacheserver.routing import turns as routing_turns
from cacheserver.routing.turns import Turns

UPSTREAM = "claude"  # one for all of a log: nobody logs two accounts as one
_TENANTS = 10_000
_REMEMBERED = 8_000_000  # bytes of requests as JSON; as objects they are several times as large


@dataclass(slots=True)
class ReplayedRequest:
    """A request as the policies see it."""

    query: Query
    root: str  # digest of tenant, model, tools and system
    layouts: dict[str, Layout] = field(default_factory=dict)  # by the model it would go to
    routes: dict[str | None, Route] = field(default_factory=dict)  # by its conversation's model
    _needs: Needs | None = None
    _turns: Turns | None = None

    @property
    def needs(self) -> Needs:
        """Return the capabilities that the request needs from a model."""
        if self._needs is None:
            self._needs = capabilities.needs(self.query.body)
        return self._needs

    @property
    def turns(self) -> Turns:
        """The request's place in its conversation."""
        if self._turns is None:
            self._turns = routing_turns.turns(self.query)
        return self._turns

    def layout(self, model: str) -> Layout:
        """Return the possible positions of prompt-cache marks for a model."""
        found = self.layouts.get(model)
        if found is None:
            body = self.query.body
            found = promptcache_layout.lay_out(body, model, self.query.headers)
            self.layouts[model] = found
        return found


class Reader:
    """Reader of calls as requests of `tenant`."""

    def __init__(self, tenant: Tenant, language: Language) -> None:
        # An application marks questions in its bodies only where its tenant allows it.
        self._tenant = replace(tenant, declared=replace(tenant.declared, enabled=True))
        self._language = language
        self._tenants: OrderedDict[str, Tenant] = OrderedDict()
        self._seen: OrderedDict[bytes, tuple[ReplayedRequest | None, int]] = OrderedDict()
        self._bytes = 0

    def see(self, call: Call) -> ReplayedRequest | None:
        """Return the call as a request; None if no readable prompt was logged.

        The last ones are remembered: in many a log every other request came a moment before.
        """
        if call.body is None:
            return None
        text = json_text.dumps([call.tenant, call.key, call.headers, call.body])
        digest = hashlib.blake2b(text, digest_size=16).digest()
        cached = self._seen.get(digest)
        if cached is not None:
            self._seen.move_to_end(digest)
            return cached[0]
        seen = self._read(call, call.body)
        self._seen[digest] = seen, len(text)
        self._bytes += len(text)
        while self._bytes > _REMEMBERED:
            self._bytes -= self._seen.popitem(last=False)[1][1]
        return seen

    def _read(self, call: Call, body: Mapping[str, Any]) -> ReplayedRequest | None:
        try:
            query = fingerprint.read(
                body,
                b"",
                headers=call.headers,
                tenant=self._of(call.tenant),
                controls=Controls(),
                upstream=UPSTREAM,
                language=self._language,
                key_id=call.key,
            )
        except BadRequest:
            return None
        return ReplayedRequest(query, _root(query))

    def _of(self, name: str) -> Tenant:
        found = self._tenants.get(name)
        if found is None:
            found = self._tenants[name] = replace(self._tenant, name=name)
            if len(self._tenants) > _TENANTS:
                self._tenants.popitem(last=False)
        return found


def _root(query: Query) -> str:
    body = query.body
    start = [query.tenant.name, query.model, body.get("tools"), prompt_of(body)]
    return hashlib.blake2b(json_text.dumps(start), digest_size=16).hexdigest()
