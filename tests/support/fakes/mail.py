"""A mail server for tests: aiosmtpd on this machine, with or without TLS and a login, which keeps what it is given."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.free_port import free_port

USER, PASSWORD = "pgbastion", "mail-canary-20fe"


@dataclass
class Mailbox:
    """`refuse`: a reply to each RCPT instead of 250. `encrypted`: of each letter, whether TLS was spoken."""

    port: int = 0
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    logged_in: list[bool] = field(default_factory=list)
    refuse: str = ""
    all_encrypted: bool = False

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        letter = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(letter, EmailMessage)
        self.letters.append(letter)
        self.recipients += envelope.rcpt_tos
        self.encrypted.append(self.all_encrypted or session.ssl is not None)
        self.logged_in.append(bool(session.authenticated))
        return "250 OK"


@contextmanager
def mail_server(
    context: ssl.SSLContext | None = None, *, from_the_first_byte: bool = False, login: bool = False
) -> Iterator[Mailbox]:
    """`context`: a server's, for STARTTLS or, with `from_the_first_byte`, for TLS at once."""

    def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: object) -> AuthResult:
        fits = isinstance(given, LoginPassword) and (given.login, given.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=fits, handled=False)

    box = Mailbox(all_encrypted=from_the_first_byte)
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=free_port(),
        ssl_context=context if from_the_first_byte else None,
        tls_context=None if from_the_first_byte else context,
        require_starttls=context is not None and not from_the_first_byte,
        authenticator=authenticate if login else None,
        auth_required=login,
        auth_require_tls=not from_the_first_byte,
    )
    controller.start()
    try:
        assert controller.server is not None
        box.port = controller.server.sockets[0].getsockname()[1]
        yield box
    finally:
        controller.stop()
