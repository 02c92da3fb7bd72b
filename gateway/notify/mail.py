"""Messages by e-mail: plain text, through one server, over TLS unless that server is on this machine."""

import socket
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import aiosmtplib

from gateway.access.model import User
from gateway.notify.delivering import Dead, Delivered, Later, Means, Outcome
from gateway.notify.wording import details, headline, how_to, plain, read_payload
from gateway.ports import OutboxMessage
from gateway.secret import Secret
from gateway.settings.notify import Mail

_NO_TLS: Final = Later(None, "the mail server offers no TLS, or no way to log in that we know")
_FOR_GOOD: Final = 500  # replies from here on will not be others the next time


class MailOffice:
    """Implements Channel for "mail:<address>", and PersonalDeliverer."""

    def __init__(self, means: Means) -> None:
        """Raises OSError when the CA file cannot be read (ssl.SSLError is one)."""
        self._means = means
        self._mail: Mail = means.settings.mail
        ca_file = self._mail.ca_file
        self._context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    async def start(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Nothing is kept open."""

    async def deliver(self, message: OutboxMessage) -> Outcome:
        return await self._send(message, message.destination.partition(":")[2])

    async def deliver_to(self, message: OutboxMessage, user: User) -> Outcome | None:
        return None if user.email is None else await self._send(message, user.email)

    async def _send(self, message: OutboxMessage, address: str) -> Outcome:
        if not is_address(address):
            return Dead("the address cannot be one")
        try:
            letter = letter_of(message, self._mail.sender, address)
            password = None if self._mail.password_file is None else _read(self._mail.password_file)
        except OSError as error:
            return Later(None, f"the file of the mail server's password cannot be read ({error.strerror})")
        except ValueError:
            return Dead("no letter can be made of it")
        try:
            await aiosmtplib.send(
                letter,
                sender=self._mail.sender,
                recipients=[address],
                hostname=self._mail.host,
                port=self._mail.port,
                username=self._mail.username or None,
                password=None if password is None else password.reveal(),
                local_hostname=socket.gethostname(),
                timeout=self._means.settings.notify.timeout_seconds,
                use_tls=self._mail.tls == "tls",
                start_tls=self._mail.tls == "starttls",
                tls_context=None if self._mail.tls == "none" else self._context,
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            return _outcome(error)
        return Delivered()


def letter_of(message: OutboxMessage, sender: str, address: str) -> EmailMessage:
    """The same Message-ID each time, and one thread for each access request. Raises ValueError for a payload not ours."""
    payload = read_payload(message.payload)
    domain = sender.rpartition("@")[2]
    letter = EmailMessage(policy=SMTP)
    letter["From"] = f"pgbastion <{sender}>"
    letter["To"] = address
    letter["Subject"] = plain(headline(message.topic, payload))[:200]
    letter["Date"] = format_datetime(message.created_at)
    letter["Message-ID"] = f"<{message.id}@{domain}>"
    letter["Auto-Submitted"] = "auto-generated"
    if message.request_id is not None:
        letter["References"] = f"<{message.request_id}@{domain}>"
    lines = [headline(message.topic, payload), ""]
    lines += [f"{name}: {text}" for name, text in details(payload)]
    if command := how_to(message.topic, payload):
        lines += ["", command]
    letter.set_content("\n".join([*lines, "", "-- ", "pgbastion", ""]))
    return letter


def is_address(text: str) -> bool:
    """Something that fits into a header and an SMTP command as it is."""
    name, at, domain = text.rpartition("@")
    fits = len(text) <= 254 and text.isascii() and text.isprintable() and not set(text) & set(' <>()[],;:\\"')
    return fits and bool(at and name and domain) and "@" not in name


def _outcome(error: Exception) -> Outcome:
    """The server's own words are for nobody but the log's level of detail: they may quote what was sent."""
    match error:
        case aiosmtplib.SMTPRecipientsRefused(recipients=[first, *_]):
            return _refused("does not take this address", first.code)
        case aiosmtplib.SMTPAuthenticationError(code=code):
            return Later(None, f"the mail server does not take our user name and password ({code})")
        case aiosmtplib.SMTPResponseException(code=code):
            return _refused("refuses", code)
        case aiosmtplib.SMTPNotSupported():
            return _NO_TLS
        case aiosmtplib.SMTPException() if "STARTTLS" in str(error):
            return _NO_TLS
        case ssl.SSLCertVerificationError(verify_message=why):
            return Later(None, f"the mail server's certificate does not verify ({why})")
        case ssl.SSLError():
            return Later(None, "the mail server does not speak TLS as we do")
        case TimeoutError():
            return Later(None, "the mail server does not answer in time")
    if isinstance(cause := error.__cause__, ssl.SSLError):
        return _outcome(cause)
    return Later(None, f"the mail server cannot be reached ({type(error).__name__})")


def _refused(what: str, code: int) -> Outcome:
    text = f"the mail server {what} ({code})"
    return Dead(text) if code >= _FOR_GOOD else Later(None, text)


def _read(file: Path) -> Secret:
    """Raises OSError."""
    return Secret(file.read_text("utf-8").strip())
