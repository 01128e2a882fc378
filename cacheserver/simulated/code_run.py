"""Code that ran at Claude, in a container that later requests may name, and the file it made."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cacheserver.simulated import directives
from cacheserver.simulated.caller import Caller
from cacheserver.simulated.resources import Resources

_LIFE: Final = timedelta(days=30)


def add(
    message: dict[str, Any],
    body: Mapping[str, Any],
    resources: Resources,
    caller: Caller,
    *,
    now: float,
) -> None:
    """Put a container and the result of a command before the text. The file holds the question."""
    used = f"srvtoolu_sim_{secrets.token_hex(6)}"
    file = resources.create_output(directives.question(body).encode(), caller, now=now)
    output = {"type": "bash_code_execution_output", "file_id": file}
    result = {
        "type": "bash_code_execution_result",
        "stdout": "",
        "stderr": "",
        "return_code": 0,
        "content": [output],
    }
    message["content"] = [
        {
            "type": "server_tool_use",
            "id": used,
            "name": "bash_code_execution",
            "input": {"command": "cat > output.txt"},
            "caller": {"type": "direct"},
        },
        {"type": "bash_code_execution_tool_result", "tool_use_id": used, "content": result},
        *message["content"],
    ]
    message["container"] = {
        "id": _named(body) or f"container_sim{secrets.token_hex(10)}",
        "expires_at": (datetime.fromtimestamp(now, UTC) + _LIFE).isoformat(),
        "skills": None,
    }


def _named(body: Mapping[str, Any]) -> str | None:
    container = body.get("container")
    found = container.get("id") if isinstance(container, Mapping) else container
    return found if isinstance(found, str) else None
