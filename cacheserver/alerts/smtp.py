"""Mail through an operator's SMTP server. Blocking by nature, so it works on a thread."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal

_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. `security` "none" is for a server on this machine."""

    host: str
    sender: str
    port: int = 587
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    security: Literal["starttls", "tls", "none"] = "starttls"


class Mailer:
    """Sends plain text."""

    def __init__(self, server: MailServer, *, context: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._context = context

    async def send(self, to: Sequence[str], subject: str, text: str) -> str | None:
        """None where the server took it for all of `to`, else why it is not there."""
        try:
            letter = EmailMessage()
            letter["From"], letter["To"] = self._server.sender, ", ".join(to)
            letter["Subject"] = subject
            letter.set_content(text)
        except ValueError:  # a line break in a header is no way to write another one
            return "malformed"
        return await asyncio.to_thread(self._hand_in, letter)

    def _hand_in(self, letter: EmailMessage) -> str | None:
        server = self._server
        context = self._context or ssl.create_default_context()
        try:
            with self._connected(context) as smtp:
                if server.security == "starttls":
                    smtp.starttls(context=context)
                if server.user is not None:
                    smtp.login(server.user, server.password or "")
                refused = smtp.send_message(letter)
        except (smtplib.SMTPException, OSError) as error:
            return type(error).__name__
        return "refused" if refused else None

    def _connected(self, context: ssl.SSLContext) -> smtplib.SMTP:
        server = self._server
        if server.security == "tls":
            return smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_S, context=context)
        return smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
