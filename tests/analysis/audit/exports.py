"""One record of each export, as the tool that makes it writes it."""

from __future__ import annotations

from typing import Any

from tests.analysis.audit.records import AT

SONNET = "claude-sonnet-5-5"


def helicone(**more: Any) -> dict[str, Any]:
    """A row of Helicone: through its proxy, so the bodies are Anthropic's."""
    return {
        "response_id": "r1",
        "response_created_at": AT,
        "response_body": {
            "type": "message",
            "content": [{"type": "text", "text": "Paris."}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 20, "output_tokens": 5, "cache_read_input_tokens": 1_000},
        },
        "response_status": 200,
        "response_model": SONNET,
        "request_id": "q1",
        "request_created_at": AT,
        "request_body": {
            "model": SONNET,
            "max_tokens": 300,
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        },
        "request_user_id": "acme",
        "request_properties": {"Helicone-Session-Id": "s1", "Feature": "help"},
        "request_model": SONNET,
        "provider": "ANTHROPIC",
        "prompt_tokens": 20,
        "prompt_cache_write_tokens": 0,
        "prompt_cache_read_tokens": 1_000,
        "completion_tokens": 5,
        "costUSD": 0.00019,
        **more,
    }


def langfuse(**more: Any) -> dict[str, Any]:
    """A generation of Langfuse's API."""
    return {
        "id": "o1",
        "traceId": "t1",
        "type": "GENERATION",
        "name": "help",
        "startTime": AT,
        "model": SONNET,
        "modelParameters": {"max_tokens": 300, "temperature": 0},
        "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
        "output": {"role": "assistant", "content": "Paris."},
        "usageDetails": {
            "input": 20,
            "output": 5,
            "cache_read_input_tokens": 1_000,
            "total": 1_025,
        },
        "calculatedTotalCost": 0.00019,
        "userId": "acme",
        "sessionId": "s1",
        "level": "DEFAULT",
        **more,
    }


def attribute(name: str, value: Any) -> dict[str, Any]:
    """As OTLP writes it in JSON."""
    if isinstance(value, list):
        held: Any = {"arrayValue": {"values": [attribute("", one)["value"] for one in value]}}
    elif isinstance(value, int):
        held = {"intValue": str(value)}
    else:
        held = {"stringValue": value}
    return {"key": name, "value": held}


SPOKEN = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": SONNET,
    "gen_ai.request.max_tokens": 300,
    "gen_ai.response.model": SONNET,
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 1_020,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.usage.cache_read.input_tokens": 1_000,
    "gen_ai.conversation.id": "s1",
    "user.id": "acme",
    "gen_ai.system_instructions": '[{"type": "text", "content": "Be brief."}]',
    "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", '
    '"content": "What is the capital of France?"}]}]',
    "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "text", '
    '"content": "Paris."}], "finish_reason": "stop"}]',
}


def span(**more: Any) -> dict[str, Any]:
    """A span of the collector's file exporter."""
    return {
        "traceId": "t1",
        "spanId": "a1",
        "name": f"chat {SONNET}",
        "kind": 3,
        "startTimeUnixNano": "1793613600000000000",
        "endTimeUnixNano": "1793613601000000000",
        "attributes": [attribute(name, value) for name, value in {**SPOKEN, **more}.items()],
        "status": {},
    }


def otlp(*spans: dict[str, Any]) -> dict[str, Any]:
    """A line of it: spans of one process."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [attribute("service.name", "help")]},
                "scopeSpans": [{"scope": {"name": "anthropic"}, "spans": list(spans)}],
            }
        ]
    }
