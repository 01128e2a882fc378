"""Simulated Claude without a key: Anthropic's API, real prompt-cache arithmetic, labelled.

Promises: an answer is derived from the request and says that it is simulated. It shares no code
with the rest of cacheserver, above all no prices, so that each can be checked against the other.
Started by `bootstrap` where there is no key, and by `cacheserver simulate-claude`; `directives`
lists what a test can request of it.
"""

from __future__ import annotations

from cacheserver.simulated.app import Simulated, create_app
from cacheserver.simulated.directives import Directives, Fault
from cacheserver.simulated.serve import main, serve_simulated
from cacheserver.simulated.settings import SimulatedSettings

__all__ = [
    "Directives",
    "Fault",
    "Simulated",
    "SimulatedSettings",
    "create_app",
    "main",
    "serve_simulated",
]
