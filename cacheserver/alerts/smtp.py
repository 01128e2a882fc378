"""Mail through the operator's SMTP server, in a thread, because smtplib blocks."""

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
    """SMTP server. `security` "none" is for a server on this machine."""

    host: str
    sender: str
    port: int = 587
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    security: Literal["starttls", "tls", "none"] = "starttls"


class Mailer:
    """Sender of plain-text mail."""

    def __init__(self, server: MailServer, *, context: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._context = context

    async def send(self, to: Sequence[str], subject: str, text: str) -> str | None:
        """Send a mail. Returns None if the server accepted it for all of `to`, else the error."""
        try:
            message = EmailMessage()
            message["From"], message["To"] = self._server.sender, ", ".join(to)
            message["Subject"] = subject
            message.set_content(text)
        except ValueError:  # a line break must not inject another header
            return "malformed"
        return await asyncio.to_thread(self._submit, message)

    def _submit(self, message: EmailMessage) -> str | None:
        server = self._server
        context = self._context or ssl.create_default_context()
        try:
            with self._connected(context) as smtp:
                if server.security == "starttls":
                    smtp.starttls(context=context)
                if server.user is not None:
                    smtp.login(server.user, server.password or "")
                refused = smtp.send_message(message)
        except (smtplib.SMTPException, OSError) as error:
            return type(error).__name__
        return "refused" if refused else None

    def _connected(self, context: ssl.SSLContext) -> smtplib.SMTP:
        server = self._server
        if server.security == "tls":
            return smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_S, context=context)
        return smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
