"""Sends one plain letter: by SMTP, or into a folder where there is no mail server. No templates, no HTML, no queue."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
import uuid
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

SMTP_SECONDS_MAX = 15.0
TEXT_CHARACTERS_MAX = 100_000
SUBJECT_CHARACTERS_MAX = 200
SENDER = "Atrium <no-reply@localhost>"


class MailRefused(Exception):
    """Address, subject or text cannot be sent as they are; the message says which."""


class MailUnavailable(Exception):
    """The mail server did not take it; it may be sent again."""


class Mailer(Protocol):
    async def send(self, to: str, subject: str, text: str) -> Path | None:
        """Send one letter; the file that holds it, where no mail server took it. Sent twice when called twice.

        Raises MailRefused, MailUnavailable.
        """


class FolderMailer:
    """One .eml file a letter, made whole or not at all, readable by the owner alone: letters hold reset tokens."""

    def __init__(self, folder: Path, *, sender: str = SENDER) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, to: str, subject: str, text: str) -> Path:
        letter = _letter(to, subject, text=text, sender=self._sender)
        return await asyncio.to_thread(self._write, letter.as_bytes())

    def _write(self, content: bytes) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = uuid.uuid4().hex
        draft = self._folder / f".{name}.part"
        draft.touch(mode=0o600)
        draft.write_bytes(content)
        return draft.replace(self._folder / f"{name}.eml")


class SmtpMailer:
    """`smtp://` uses STARTTLS where offered and always before a password, `smtps://` TLS from the first byte.

    The URL: smtp://user:password@host:port?from=Name%20<a@b.c>.
    """

    def __init__(self, url: str, *, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("ATRIUM_SMTP_URL is smtp://… or smtps://… with a host")
        self._tls = parts.scheme == "smtps"
        self._host, self._port = parts.hostname, parts.port or (465 if self._tls else 587)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._sender = unquote(parts.query.removeprefix("from=")) if parts.query.startswith("from=") else SENDER
        self._context = context or ssl.create_default_context()

    def __repr__(self) -> str:
        return f"SmtpMailer({self._host}:{self._port})"

    async def send(self, to: str, subject: str, text: str) -> None:
        letter = _letter(to, subject, text=text, sender=self._sender)
        try:
            await asyncio.to_thread(self._deliver, letter)
        except smtplib.SMTPRecipientsRefused:
            raise MailRefused("The mail server does not take this address.") from None
        except (smtplib.SMTPException, OSError) as error:
            raise MailUnavailable(f"{self!r} did not take the letter: {type(error).__name__}") from None

    def _deliver(self, letter: EmailMessage) -> None:
        with self._connected() as server:
            if not self._tls:
                server.ehlo()
                if server.has_extn("starttls"):
                    server.starttls(context=self._context)
                elif self._user:
                    raise smtplib.SMTPNotSupportedError("no STARTTLS: a password is not sent in the open")
            if self._user:
                server.login(self._user, self._password)
            server.send_message(letter)

    def _connected(self) -> smtplib.SMTP:
        if self._tls:
            return smtplib.SMTP_SSL(self._host, self._port, timeout=SMTP_SECONDS_MAX, context=self._context)
        return smtplib.SMTP(self._host, self._port, timeout=SMTP_SECONDS_MAX)


def _letter(to: str, subject: str, *, text: str, sender: str) -> EmailMessage:
    for name, value in (("address", to), ("subject", subject)):
        # A line break would start a header of the writer's choice.
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise MailRefused(f"The {name} holds a control character.")
    if len(subject) > SUBJECT_CHARACTERS_MAX or len(text) > TEXT_CHARACTERS_MAX:
        raise MailRefused("The letter is too long.")
    letter = EmailMessage(policy=SMTP)
    try:
        address = Address(addr_spec=to)
        if not (address.username and address.domain) or "," in to:
            raise ValueError(to)
        letter["To"] = address
        letter["From"] = sender
        letter["Subject"] = subject
        letter["Message-ID"] = f"<{uuid.uuid4().hex}@{address.domain}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(text)
        letter.as_bytes()
    except (MessageError, ValueError, IndexError, UnicodeError):
        raise MailRefused("This is no address that mail can be sent to.") from None
    return letter
