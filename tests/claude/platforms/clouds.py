"""Bedrock and Vertex AI as far as their door: signatures and tokens are checked, then the simulated
Claude answers, in each cloud's own encoding.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

REGION = "eu-central-1"
KEY_ID, SECRET = "AKIAEXAMPLE", "a-secret-that-never-travels"
TOKEN = "a-bearer-token-of-googles"
_AUDIENCE = "https://oauth2.googleapis.com/token"  # of assertions, wherever they are sent
_INVOKED = re.compile(r"/model/([^/]+)/invoke(-with-response-stream)?")
_PREDICTED = re.compile(
    r"/v1/projects/([^/]+)/locations/([^/]+)/publishers/anthropic/models/([^/:]+):(\w+)"
)

_THROTTLED = {
    ":message-type": "exception",
    ":exception-type": "throttlingException",
    ":content-type": "application/json",
}


@dataclass
class Cloud:
    """The requests that came. `damage` changes each frame of Bedrock's stream."""

    claude: str  # address of the simulated one, which answers
    models: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    fail: tuple[int, Any] | None = None
    damage: Callable[[bytes], bytes] = lambda frame: frame
    error_frame: bool = False
    public_key: bytes = b""
    tokens_given: int = 0
    closed: bool = False  # the service account

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/token", self.token, methods=["POST"]),
                Route("/{path:path}", self.answer, methods=["GET", "POST"]),
            ]
        )

    async def answer(self, request: Request) -> Response:
        raw = await request.body()
        path = request.url.path
        if (invoked := _INVOKED.fullmatch(path)) is not None:
            if not self._is_signed(request, raw):
                return JSONResponse({"message": "The signature does not match"}, 403)
            model, streamed = invoked.group(1), invoked.group(2) is not None
        elif (predicted := _PREDICTED.fullmatch(path)) is not None:
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return JSONResponse({"error": {"code": 401, "message": "Not a token"}}, 401)
            model, streamed = predicted.group(3), predicted.group(4) == "streamRawPredict"
        else:
            return JSONResponse({"message": "No such operation"}, 404)
        body = json.loads(raw)
        self.models.append(model)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if self.fail is not None:
            status, content = self.fail
            return JSONResponse(content, status, headers={"x-amzn-requestid": "req-of-aws"})
        return await self._asked(model, body, streamed=streamed, bedrock=invoked is not None)

    async def _asked(
        self, model: str, body: dict[str, Any], *, streamed: bool, bedrock: bool
    ) -> Response:
        sent = {n: v for n, v in body.items() if n not in ("anthropic_version", "anthropic_beta")}
        path = "/v1/messages"
        if model == "count-tokens":
            path = "/v1/messages/count_tokens"
        else:
            sent["model"] = re.sub(r"^.*anthropic\.|@.*$|-20[0-9]{6}-v1:0$", "", model)
        if streamed:
            sent["stream"] = True
        headers = {"x-api-key": "sk-simulated", "anthropic-version": "2026-10-21"}
        async with httpx2.AsyncClient(base_url=self.claude, trust_env=False) as client:
            got = await client.post(path, json=sent, headers=headers)
        if not got.is_success or not streamed:
            return Response(got.content, got.status_code, media_type="application/json")
        if not bedrock:
            return Response(got.content, media_type="text/event-stream")
        kind = "application/vnd.amazon.eventstream"
        return StreamingResponse(self._frames(got.text), media_type=kind)

    async def _frames(self, events: str) -> AsyncIterator[bytes]:
        for event in filter(None, events.split("\n\n")):
            data = json.loads(event.partition("data: ")[2])
            if data["type"] == "message_stop":
                data["amazon-bedrock-invocationMetrics"] = {"inputTokenCount": 1}
            if self.error_frame and data["type"] == "content_block_delta":
                yield frame(_THROTTLED, b'{"message": "Too many"}')
                return
            yield self.damage(chunk(json.dumps(data).encode()))

    def _is_signed(self, request: Request, raw: bytes) -> bool:
        """Return whether the signature is the one that the secret makes."""
        sent = request.headers.get("authorization", "")
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\w+)/\d{8}/([a-z0-9-]+)/bedrock/aws4_request, "
            r"SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}", sent,
        )  # fmt: skip
        if found is None or found.group(1, 2) != (KEY_ID, REGION):
            return False
        signed = found.group(3).split(";")
        target = request.scope["raw_path"].decode()
        again = AWSRequest(
            method=request.method,
            url=f"http://{request.headers['host']}{target}",
            data=raw,
            headers={name: request.headers[name] for name in signed if name in request.headers},
        )
        again.context["timestamp"] = request.headers["x-amz-date"]
        signer = SigV4Auth(Credentials(KEY_ID, SECRET), "bedrock", REGION)
        canonical = signer.canonical_request(again)
        signature = signer.signature(signer.string_to_sign(again, canonical), again)
        return sent.endswith(f"Signature={signature}")

    async def token(self, request: Request) -> Response:
        """Give a token for an assertion that the service account's key has signed."""
        form = parse_qs((await request.body()).decode())
        claims = jwt.decode(  # type: ignore[no-untyped-call]
            form["assertion"][0], certs=self.public_key, audience=_AUDIENCE
        )
        assert claims["iss"] == "cacheserver@example.iam"
        if self.closed:
            return JSONResponse({"error": "invalid_grant"}, 400)
        self.tokens_given += 1
        return JSONResponse({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    def service_account(self, url: str, folder: Path) -> Path:
        """Write the credentials of a service account whose tokens come from here."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.public_key = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        path = folder / "account.json"
        path.write_text(
            json.dumps(
                {
                    "type": "service_account",
                    "client_email": "cacheserver@example.iam",
                    "private_key": pem.decode(),
                    "private_key_id": "1",
                    "token_uri": f"{url}/token",
                    "project_id": "the-project",
                }
            )
        )
        return path


def chunk(event: bytes) -> bytes:
    """One event of Claude's as Bedrock's stream has it."""
    payload = json.dumps({"bytes": base64.b64encode(event).decode()}).encode()
    return frame(
        {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"},
        payload,
    )


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message of the event-stream encoding (Smithy's `application/vnd.amazon.eventstream`)."""
    head = b"".join(
        struct.pack("!B", len(name)) + name.encode() + b"\x07"
        + struct.pack("!H", len(value)) + value.encode()
        for name, value in headers.items()
    )  # fmt: skip
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    prelude += struct.pack("!I", zlib.crc32(prelude))
    message = prelude + head + payload
    return message + struct.pack("!I", zlib.crc32(message))
