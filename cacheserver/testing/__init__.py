"""Test double for people's own suites: a simulated Claude on a real socket.

Promises: no call leaves the machine; what the code under test sent can be read back.
Used by tests of applications, by the fixture `simulated_claude` and nowhere in the server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cacheserver.simulated import Directives as Reply
    from cacheserver.testing.answers import AnswerFunction
    from cacheserver.testing.claude import Asked, SimulatedClaude, simulated_claude

__all__ = ["AnswerFunction", "Asked", "Reply", "SimulatedClaude", "simulated_claude"]

# Imported when first asked for: the plugin lies in here, and every run of pytest loads it.
_LAZY = {
    "AnswerFunction": ("cacheserver.testing.answers", "AnswerFunction"),
    "Asked": ("cacheserver.testing.claude", "Asked"),
    "Reply": ("cacheserver.simulated", "Directives"),
    "SimulatedClaude": ("cacheserver.testing.claude", "SimulatedClaude"),
    "simulated_claude": ("cacheserver.testing.claude", "simulated_claude"),
}


def __getattr__(name: str) -> Any:
    """Return a public name. Raises `ModuleNotFoundError` without the extra `testing`."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)
