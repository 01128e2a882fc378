"""Simulated Claude without a key: Anthropic's API, real prompt-cache arithmetic, labelled.

It thinks nothing up: an answer is made from the request, and says so. It shares no code with the
rest of cacheserver, least of all what prices an answer, so that each can be held against the other.
What a test can ask of it is written down in `directives.py`.
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
