"""What the routes find on the application: the parts, and the gate in front of them."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from cacheserver.api.deps import Gate
from cacheserver.parts import Parts


@dataclass(frozen=True, slots=True)
class Edge:
    parts: Parts
    gate: Gate
    max_body_bytes: int


def edge_of(request: Request) -> Edge:
    edge = request.app.state.edge
    assert isinstance(edge, Edge)  # `app.create_app` sets it while the server runs
    return edge
