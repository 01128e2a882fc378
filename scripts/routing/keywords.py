"""The baseline to beat: a keyword heuristic, written anew from its published description.

litellm's complexity router weighs seven dimensions - length, code words, reasoning markers,
technical terms, signs of simplicity, several steps, question marks - into one score and cuts it at
three places; two reasoning markers alone make the highest tier. This has its dimensions, weights
and cuts as documented, with word lists of our own. Its four tiers are brought to three.
"""

from __future__ import annotations

import re

_CODE = re.compile(
    r"\b(?:function|class|api|database|algorithm|code|implement|debug|error|python|javascript|sql"
    r"|async|server|deploy|docker|kubernetes|refactor|import|return|git|compile|variable)\b"
)
_TECHNICAL = re.compile(
    r"\b(?:architecture|distributed|scalable|concurrency|latency|throughput|encryption|protocol"
    r"|authentication|consensus|kernel|compiler|gradient|neural|quantum|theorem|regression"
    r"|microservice|optimization|infrastructure)\b"
)
_REASONING = re.compile(
    "step by step|think through|reason through|analyze this|explain your reasoning|let's think"
    "|show your work|break down|pros and cons|weigh the|consider all|chain of thought"
)
_SIMPLE = re.compile(
    r"\b(?:what is|what's|define|who is|when did|where is|hello|hi|thanks|translate|how many"
    r"|list)\b"
)
_STEPS = re.compile(r"first.*then|step \d|\d+\.\s|\b(?:next|finally|after that)\b", re.DOTALL)

_WEIGHTS = {
    "length": 0.10,
    "code": 0.30,
    "reasoning": 0.25,
    "technical": 0.25,
    "simple": 0.05,
    "steps": 0.03,
    "questions": 0.02,
}
_SIMPLE_BELOW, _COMPLEX_FROM = 0.15, 0.35


def level(prompt: str) -> str:
    """SIMPLE, MEDIUM or COMPLEX by its words."""
    text = prompt.lower()
    reasons = len(set(_REASONING.findall(text)))
    if reasons >= 2:
        return "COMPLEX"
    tokens = len(text) / 4
    code = len(set(_CODE.findall(text)))
    technical = len(set(_TECHNICAL.findall(text)))
    found = {
        "length": -1.0 if tokens < 15 else 1.0 if tokens > 400 else 0.0,
        "code": 1.0 if code >= 2 else 0.5 if code else 0.0,
        "reasoning": 0.7 if reasons else 0.0,
        "technical": 1.0 if technical >= 4 else 0.5 if technical >= 2 else 0.0,
        "simple": -1.0 if _SIMPLE.search(text) else 0.0,
        "steps": 0.5 if _STEPS.search(text) else 0.0,
        "questions": 0.5 if text.count("?") > 3 else 0.0,
    }
    score = sum(_WEIGHTS[name] * value for name, value in found.items())
    if score < _SIMPLE_BELOW:
        return "SIMPLE"
    return "MEDIUM" if score < _COMPLEX_FROM else "COMPLEX"
