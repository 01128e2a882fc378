"""What the routes find on the application: the parts, and the gate in front of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from cacheserver.api.body import parse, read_body
from cacheserver.api.deps import Gate
from cacheserver.api.heavy import Heavy
from cacheserver.parts import Parts


@dataclass(frozen=True, slots=True)
class Edge:
    parts: Parts
    gate: Gate
    max_body_bytes: int
    store_wait_s: float  # of a request, in all
    heavy: Heavy = field(default_factory=Heavy)

    async def object(self, request: Request) -> dict[str, Any]:
        """The JSON object in a request's body. Raises `BadRequest`, `TooLarge` and `Encoded`."""
        raw = await read_body(request, self.max_body_bytes)
        return await self.heavy.do(len(raw), lambda: parse(raw))


def edge_of(request: Request) -> Edge:
    edge = request.app.state.edge
    assert isinstance(edge, Edge)  # `app.create_app` sets it while the server runs
    return edge
