"""Settings of the mail server that alerts are sent through."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from cacheserver.config.fields import Secret, setting


class MailSettings(BaseModel):
    """One value per setting; `Settings` has all of them."""

    smtp_host: str | None = setting(
        None,
        "The mail server for alerts by mail.",
        "Without it there is no mail; the log and webhooks have the alerts all the same.",
        min_length=1,
    )
    smtp_port: int = setting(
        587, "The port of the mail server.", "The one for submission (RFC 6409).", ge=1, le=65_535
    )
    smtp_user: str | None = setting(
        None,
        "The user name at the mail server.",
        "None: it takes mail from this machine without.",
        min_length=1,
    )
    smtp_password: Secret = setting(
        None,
        "The password at the mail server.",
        "There is no safe default for a secret.",
        min_length=1,
    )
    smtp_from: str | None = setting(
        None,
        "The address that alerts come from; needed with `CACHESERVER_SMTP_HOST`.",
        "A server that guesses one sends what nobody accepts.",
        pattern=r"^[^\s@<>,;]+@[^\s@<>,;]+$",
    )
    smtp_security: Literal["starttls", "tls", "none"] = setting(
        "starttls",
        "Encryption of the connection to the mail server; `none` is for a mail server on this "
        "machine.",
        "What port 587 speaks; a password never leaves in the clear.",
    )
