"""Which names, places, passwords, actors and reasons are accepted. Pure.

Names are plain ASCII, so that two that look alike are alike and none needs quoting in a connection string or an audit line.
"""

import re
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from gateway.access.user_rules import LONGEST_PASSWORD, UserRules
from gateway.access.verifiers import DEFAULT_ITERATIONS, VerifierError, parse_verifier
from gateway.secret import Secret
from gateway.services.errors import ServiceError

SYSTEM: Final = "system"
"""The actor of what the program does by itself."""

_EMAIL: Final = re.compile(r"[^\s@]{1,64}@[^\s@]{1,189}")
_TARGET: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_GROUP = _TOKEN = _ENVIRONMENT = _ADMIN_ROLE = _TARGET
_ACTOR: Final = re.compile(r"system|os:(?P<os>\S{1,128})|token:[A-Za-z][A-Za-z0-9_.-]{0,62}|user:[A-Za-z][A-Za-z0-9_.@-]{0,62}")
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
_QUALIFIED: Final = re.compile(r'[^\s".*]{1,63}\.([^\s".*]{1,63}|\*)')
_EXTENSION: Final = re.compile(r'extension:[^\s".*]{1,63}')
_SIMPLE: Final = re.compile(r'[^\s".*,]{1,63}')
_SETTING: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}\.[A-Za-z_][A-Za-z0-9_$]{0,62}")
_MAX_IDENTIFIER_BYTES: Final = 63
_NO_STRING: Final = "Each part of it is a field of its own: host, port, database, login; the password is asked for."
_MAX_REMARK_CHARACTERS: Final = 500
_MAX_SUBJECT_CHARACTERS: Final = 255
_MAX_ISSUER_CHARACTERS: Final = 500
_MAX_SESSIONS: Final = 100_000
_MAX_OPEN_AHEAD: Final = 1000
_SALT_BYTES: Final = 16
_RULES_HINT: Final = "The rules are in the section [users] of the settings."


def check_user_name(name: str, rules: UserRules) -> None:
    """Of a new user. Its hint leads to where the rules are."""
    if (wrong := rules.wrong_name(name)) is not None:
        raise ServiceError("user-name-invalid", wrong, _RULES_HINT)


def check_email(email: str | None) -> None:
    if email is not None and not (_EMAIL.fullmatch(email) and email.isprintable()):
        raise ServiceError("email-invalid", f"{email!r} is not an e-mail address")


def check_target_name(name: str) -> None:
    if not _TARGET.fullmatch(name):
        raise ServiceError(
            "target-name-invalid",
            f"{name!r} cannot be a target's name",
            "Use 1 to 63 of A-Z a-z 0-9 _ . -, starting with a letter. (A colon separates the access mode, as in name:rw.)",
        )


def check_group_name(name: str) -> None:
    if not _GROUP.fullmatch(name):
        raise ServiceError(
            "group-name-invalid",
            f"{name!r} cannot be a group's name",
            "Use 1 to 63 of A-Z a-z 0-9 _ . -, starting with a letter.",
        )


def check_environment_name(name: str) -> None:
    if not _ENVIRONMENT.fullmatch(name):
        raise ServiceError(
            "environment-name-invalid",
            f"{name!r} cannot be an environment's name",
            "Use 1 to 63 of A-Z a-z 0-9 _ . -, starting with a letter.",
        )


def check_admin_role_name(name: str) -> None:
    if not _ADMIN_ROLE.fullmatch(name):
        raise ServiceError(
            "admin-role-name-invalid",
            f"{name!r} cannot be an admin role's name",
            "Use 1 to 63 of A-Z a-z 0-9 _ . -, starting with a letter.",
        )


def check_token_name(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise ServiceError(
            "token-name-invalid",
            f"{name!r} cannot be a token's name",
            "Use 1 to 63 of A-Z a-z 0-9 _ . -, starting with a letter: what it is for, not the token itself.",
        )


def check_host(host: str) -> None:
    """A host name or an address: one typed field, never a piece of a connection string."""
    if _HOST.fullmatch(host):
        return
    try:
        if "%" in host:
            raise ValueError
        ip_address(host)
    except ValueError:
        if _holds_login(host):
            raise ServiceError("host-invalid", "a connection string is no host name", _NO_STRING) from None
        raise ServiceError(
            "host-invalid", f"{host!r} is neither a host name nor an IP address", "Give the port with --port."
        ) from None


def _holds_login(text: str) -> bool:
    """It is not repeated: there may be a password in it."""
    return "://" in text or "@" in text or "password" in text.lower()


def check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise ServiceError("port-invalid", f"{port} is not a port", "Ports are 1 to 65535; PostgreSQL's own is 5432.")


def check_max_sessions(number: int | None) -> None:
    if number is not None and not 1 <= number <= _MAX_SESSIONS:
        raise ServiceError(
            "max-sessions-invalid",
            f"{number} cannot be the most sessions of a target",
            f"Give 1 to {_MAX_SESSIONS}, or nothing for no limit of its own. To close a target, disable it.",
        )


def check_open_ahead(number: int) -> None:
    if not 0 <= number <= _MAX_OPEN_AHEAD:
        raise ServiceError(
            "open-ahead-invalid",
            f"{number} sessions cannot be opened ahead",
            f"Give 0 (none) to {_MAX_OPEN_AHEAD}, for each access mode and over all workers.",
        )


def check_identifier(what: str, text: str) -> None:
    """A database's or a database role's name: anything PostgreSQL takes, but nothing that could end a field."""
    if "://" in text or "password=" in text.lower():
        raise ServiceError("name-invalid", f"a connection string cannot be a {what}", _NO_STRING)
    if not text or len(text.encode("utf-8", "replace")) > _MAX_IDENTIFIER_BYTES or not text.isprintable():
        raise ServiceError(
            "name-invalid",
            f"{text!r} cannot be a {what}",
            f"Use 1 to {_MAX_IDENTIFIER_BYTES} printable bytes.",
        )


def check_function(name: str) -> None:
    if not (_QUALIFIED.fullmatch(name) or _EXTENSION.fullmatch(name)):
        raise ServiceError(
            "function-name-invalid",
            f"{name!r} does not name a function",
            "Write schema.function, schema.* for all of a schema or extension:name for all of an extension, as the catalog has "
            "it: no quotes, lower case.",
        )


def check_schema(name: str) -> None:
    if not _SIMPLE.fullmatch(name) or name.lower().startswith("pg_"):
        raise ServiceError("schema-name-invalid", f"{name!r} cannot be listed as a schema", "Write its plain name.")


def check_setting(name: str) -> None:
    if not _SETTING.fullmatch(name):
        raise ServiceError(
            "setting-name-invalid", f"{name!r} is not a custom setting", "Write it with its prefix, as in app.tenant."
        )


def check_password(password: Secret, rules: UserRules) -> None:
    """Of a new one."""
    if (wrong := rules.wrong_password(password.reveal())) is not None:
        raise ServiceError("password-invalid", wrong, "Leave it out to have one made.")


def check_verifier(verifier: Secret) -> None:
    """One as PostgreSQL makes them. Any other would tell strangers at the login that this user exists."""
    try:
        parsed = parse_verifier(verifier.reveal())
    except VerifierError as error:
        raise ServiceError(
            "verifier-invalid", f"this is {error}", "PostgreSQL shows them in pg_authid.rolpassword: SCRAM-SHA-256$4096:..."
        ) from None
    if parsed.iterations != DEFAULT_ITERATIONS or len(parsed.salt) != _SALT_BYTES:
        raise ServiceError(
            "verifier-unusual",
            f"a verifier needs {DEFAULT_ITERATIONS} iterations and a salt of {_SALT_BYTES} bytes",
            "Any other would tell strangers that this user exists. Set the password instead.",
        )


def check_upstream_secret(secret: Secret) -> None:
    text = secret.reveal()
    if not text or len(text) > LONGEST_PASSWORD * 4 or "\0" in text or "\n" in text:
        raise ServiceError("upstream-password-invalid", "the upstream password is empty, too long or has line breaks")


def check_actor(actor: str) -> None:
    """Who acts: `os:<user>` at the machine itself, `token:<name>` over the API, `user:<name>` who proved who they are, `system` by
    itself. Written into every event."""
    match = _ACTOR.fullmatch(actor)
    if match is None or not (match["os"] or "x").isprintable():
        raise ServiceError(
            "actor-invalid", f"{actor!r} cannot be an actor", "Actors are os:<user>, token:<name>, user:<name> or system."
        )


def check_subject(issuer: str, subject: str) -> None:
    """Who somebody is to an identity provider. (OpenID Connect Core 2: at most 255 ASCII characters.)"""
    if not issuer or len(issuer) > _MAX_ISSUER_CHARACTERS or not issuer.isascii() or not issuer.isprintable():
        raise ServiceError(
            "issuer-invalid", "this cannot be an identity provider's issuer", "It is a URL, as oidc.issuer has it."
        )
    if not subject or len(subject) > _MAX_SUBJECT_CHARACTERS or not subject.isascii() or not subject.isprintable():
        raise ServiceError("subject-invalid", "this cannot be a subject at an identity provider", 'It is the claim "sub".')


def check_claim_value(value: str) -> None:
    if not value or len(value) > _MAX_SUBJECT_CHARACTERS or not value.isprintable():
        raise ServiceError("claim-value-invalid", f"{value!r} cannot be a group at an identity provider")


def check_remark(what: str, text: str) -> None:
    """A reason or a label: one line for people. It is shown on terminals, so control characters stay out."""
    if len(text) > _MAX_REMARK_CHARACTERS or not text.isprintable():
        raise ServiceError("text-invalid", f"the {what} must be one line of at most {_MAX_REMARK_CHARACTERS} characters", "")


def check_session_id(session_id: str) -> None:
    if not 1 <= len(session_id) <= 64 or not session_id.isascii() or not session_id.isprintable():
        raise ServiceError("session-id-invalid", f"{session_id!r} is not a session id", "See: pgbastion sessions list")


def check_expiry(valid_until: datetime | None, now: datetime) -> None:
    if valid_until is not None and valid_until <= now:
        raise ServiceError(
            "expiry-in-the-past",
            f"{valid_until.isoformat(timespec='seconds')} is over already",
            "Give a later instant, or a duration such as 8h.",
        )
