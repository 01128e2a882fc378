"""Lines of logs, as people have them."""

from __future__ import annotations

from typing import Any

AT = "2026-11-02T10:00:00Z"


def pair(
    text: str = "What is the capital of France?",
    *,
    at: str = AT,
    answer: str = "Paris.",
    **more: Any,
) -> dict[str, Any]:
    """A Messages request and its answer."""
    return {
        "timestamp": at,
        "request": {
            "model": "claude-sonnet-5-5",
            "max_tokens": 300,
            "messages": [{"role": "user", "content": text}],
        },
        "response": {
            "type": "message",
            "model": "claude-sonnet-5-5",
            "content": [{"type": "text", "text": answer}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1_000, "output_tokens": 100},
        },
        **more,
    }


def spend(**more: Any) -> dict[str, Any]:
    """A row of LiteLLM's spend logs."""
    return {
        "request_id": "1",
        "startTime": "2026-11-02 10:00:00.250",
        "model": "anthropic/claude-sonnet-4-5-20250929",
        "spend": 0.0123,
        "prompt_tokens": 1_500,
        "completion_tokens": 40,
        "api_key": "ab" * 32,
        "team_id": "shop",
        "cache_hit": "False",
        "messages": (
            '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]'
        ),
        "response": {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]},
        "metadata": {
            "usage_object": {"cache_read_input_tokens": 1_200, "cache_creation_input_tokens": 100}
        },
        **more,
    }
