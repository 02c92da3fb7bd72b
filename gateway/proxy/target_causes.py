"""Why a target cannot be used, and what to do about it: from what went wrong to a step in our own words.

Admins read these, so they name the target's own fields; of what upstream said, nothing is repeated but a well-formed SQLSTATE.
"""

import errno
import re
import socket
import ssl
from typing import Final

from gateway.access.model import DatabaseRole, Target, TlsMode
from gateway.access_mode import AccessMode
from gateway.ports import CheckStep
from gateway.quoting import quoted
from gateway.session.upstream_login import UpstreamRefused

_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")
_REPORTED: Final = re.compile(r"the server reports (\w+) = ")
_EXPIRED, _NOT_YET, _WRONG_NAMES = 10, 9, (62, 64)
_UNKNOWN_ISSUER: Final = (18, 19, 20, 21)


def dns_failed(target: Target, error: Exception) -> CheckStep:
    if isinstance(error, TimeoutError) or getattr(error, "errno", None) == socket.EAI_AGAIN:
        said, remedy = f"the name server did not answer for {target.host}", "Check /etc/resolv.conf and the name server."
    else:
        said = f"there is no address for the name {target.host}"
        remedy = f"Check the name, from this machine: getent hosts {target.host}"
    return CheckStep("dns", ok=False, detail=said, remedy=remedy)


def tcp_failed(target: Target, address: str, error: OSError) -> CheckStep:
    """`address`: the last one tried."""
    where = f"{address} port {target.port}"
    match error:
        case TimeoutError():
            said = f"{where} does not answer"
            remedy = "Check host and port, and that no firewall between this machine and the server drops the connection."
        case ConnectionRefusedError():
            said = f"nothing listens on {where}"
            remedy = "Check the port; on the server, listen_addresses and that PostgreSQL runs."
        case _ if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL):
            said, remedy = f"there is no way from this machine to {where}", "Check routes and the address family (IPv4, IPv6)."
        case _:
            reason = errno.errorcode.get(error.errno or 0, "unknown error")
            said, remedy = f"cannot connect to {where} ({reason})", "Check host, port and firewalls."
    return CheckStep("tcp", ok=False, detail=said, remedy=remedy)


def tls_failed(target: Target, error: Exception) -> CheckStep:
    said, remedy = _tls_words(target, error)
    return CheckStep("tls", ok=False, detail=said, remedy=remedy)


def _tls_words(target: Target, error: Exception) -> tuple[str, str]:
    look = f"See what it shows: openssl s_client -starttls postgres -connect {target.host}:{target.port}"
    match error:
        case ssl.SSLCertVerificationError() if error.verify_code in _WRONG_NAMES:
            return (
                f"the server's certificate is not for {target.host}",
                f"Use the name that is in it as the target's host, or give the server one for {target.host}. {look}",
            )
        case ssl.SSLCertVerificationError() if error.verify_code == _EXPIRED:
            return "the server's certificate, or one above it, has expired", f"Renew it on the server. {look}"
        case ssl.SSLCertVerificationError() if error.verify_code == _NOT_YET:
            return "the server's certificate is not valid yet", "Check this machine's clock and the server's."
        case ssl.SSLCertVerificationError() if error.verify_code in _UNKNOWN_ISSUER:
            trusted = "the target's CA file" if target.ca_pem is not None else "the system's CAs"
            return (
                f"the server's certificate is not signed by {trusted}",
                f"Give the CA that signed it: pgbastion targets update {target.name} --ca-file FILE",
            )
        case ssl.SSLCertVerificationError():
            return f"the server's certificate does not verify (OpenSSL's code {error.verify_code})", look
        case ssl.SSLError() if "does not offer TLS" in str(error):
            return (
                "the server does not offer TLS",
                "Set ssl = on, ssl_cert_file and ssl_key_file on the server. On a network that nobody else can read: "
                f"pgbastion targets update {target.name} --tls disable",
            )
        case TimeoutError():
            return (
                "the server takes connections, but does not answer the request for TLS",
                "Check that PostgreSQL listens there, and no other service, and that it is not hanging.",
            )
        case ssl.SSLError():
            return (
                "the TLS handshake failed: no common version or cipher, or not PostgreSQL",
                f"It needs TLS 1.2 or newer. {look}",
            )
        case OSError():
            return "the server closed the connection when TLS began", look
        case _:  # the target's own CA
            return (
                "the target's CA file is not a PEM certificate",
                f"Give it anew: pgbastion targets update {target.name} --ca-file FILE",
            )


def no_answer(name: str) -> CheckStep:
    """Logged in, and then a question of ours failed."""
    advice = "The server's own log says why; the gateway asks only the system catalogs."
    return CheckStep(name, ok=False, detail="the server did not answer a question about it", remedy=advice)


def refused(error: UpstreamRefused, target: Target, role: DatabaseRole, mode: AccessMode) -> CheckStep:
    """A login that did not lead to a session. The step's name says how far it came."""
    match error.kind:
        case "refused":
            name, said, remedy = _by_sqlstate(error, target, role, mode)
        case "pooler":
            name, said = "settings", "a connection pooler answers, not PostgreSQL itself"
            remedy = "Point the target at PostgreSQL's own host and port: a pooler drops what keeps sessions read-only."
        case "superuser":
            name, said = "role", f'"{role.login}" is a superuser, and the gateway uses none'
            remedy = (
                f"ALTER ROLE {quoted(role.login)} NOSUPERUSER; A role that is none: pgbastion targets init-sql {target.name}"
            )
        case "setting-not-in-force":
            found = _REPORTED.match(error.detail)
            what = f"the setting {found[1]}" if found else "a setting"
            name, said = "settings", f"the server does not keep {what} as the gateway asks for it"
            remedy = f"See ALTER ROLE {quoted(role.login)} SET, ALTER DATABASE SET and login triggers on the server."
        case _:
            name, (said, remedy) = "login", _other_kind(error, target)
    return CheckStep(name, ok=False, detail=said, remedy=remedy)


def _by_sqlstate(error: UpstreamRefused, target: Target, role: DatabaseRole, mode: AccessMode) -> tuple[str, str, str]:
    login, again = role.login, f"pgbastion targets login {target.name} --mode {mode.value} --login {role.login}"
    match error.sqlstate:
        case "28P01":
            return (
                "login",
                f'the server refused the password of "{login}"',
                f'Give it again: {again}. Or there is no role "{login}" there, or it has no SCRAM password, or its password has '
                "expired: the server says the same for all of these, and which one in its own log.",
            )
        case "28000" if "not permitted to log in" in error.detail:
            return "login", f'the role "{login}" may not log in', f"ALTER ROLE {quoted(role.login)} LOGIN;"
        case "28000" if "pg_hba" in error.detail or "no encryption" in error.detail:
            kind = "host" if target.tls is TlsMode.DISABLE else "hostssl"
            line = f'{kind}  "{target.dbname}"  "{login}"  THE-GATEWAYS-ADDRESS/32  scram-sha-256'
            return "login", "pg_hba.conf on the server does not let the gateway in", f"Add to it, and reload: {line}"
        case "28000":
            return (
                "login",
                f'the server does not let "{login}" in from here',
                f'Check pg_hba.conf there, and that the role "{login}" exists and has LOGIN; the server\'s log says which.',
            )
        case "3D000":
            return (
                "database",
                f'there is no database "{target.dbname}"',
                f"See which there are with psql -l; then pgbastion targets update {target.name} --dbname NAME",
            )
        case "42501":
            return (
                "database",
                f'"{login}" may not connect to the database "{target.dbname}"',
                f"GRANT CONNECT ON DATABASE {quoted(target.dbname)} TO {quoted(role.login)};",
            )
        case "55000":
            return (
                "database",
                f'the database "{target.dbname}" takes no connections',
                "It may be a template; or it is being dropped.",
            )
        case "53300":
            return (
                "login",
                "the server, the database or the role has no connection left",
                f"Raise max_connections or the CONNECTION LIMIT of {quoted(role.login)}, or give the target a limit of sessions.",
            )
        case "57P03":
            return "login", "the server is starting up or shutting down", "Wait, and try again."
        case "22023" | "42704" | "0A000":
            return (
                "settings",
                "the server does not take the settings that the gateway begins with",
                "PostgreSQL 13 or newer is needed.",
            )
        case code:
            shown = code if _SQLSTATE.fullmatch(code) else "none"
            return "login", f"the server refused the login (SQLSTATE {shown})", "The server's own log says why."


def _other_kind(error: UpstreamRefused, target: Target) -> tuple[str, str]:
    match error.kind:
        case "md5-not-allowed":
            return (
                "the server asks for the password as md5, which the target does not allow",
                "On the server: password_encryption = 'scram-sha-256', set the role's password again, and scram-sha-256 in "
                f"pg_hba.conf. Weaker: pgbastion targets update {target.name} --allow-md5",
            )
        case "no-password-asked":
            return (
                "the server lets the gateway in without a password, so that nothing shows that it is the right server",
                "Write scram-sha-256 instead of trust, peer or cert into its line of pg_hba.conf.",
            )
        case "unsupported-authentication":
            return (
                "the server asks for another proof than a SCRAM password",
                "Write scram-sha-256 into its line of pg_hba.conf.",
            )
        case "secret":
            return (
                f"there is no password to log in with: {error.detail}",
                f"Give it anew, or put it right where it is kept; then again: pgbastion targets test {target.name}",
            )
        case "unreachable" if error.detail == "no answer in time":
            return (
                "the server takes connections, but does not answer in time",
                "Check that PostgreSQL listens there, and no other service, and that it is not hanging or overloaded.",
            )
        case "protocol" if "server signature" in error.detail:
            return (
                "the server could not prove that it knows the role's password",
                "Another server than the one meant may answer here. If not, set the role's password again.",
            )
        case "protocol" if "iteration count" in error.detail:
            return (
                "the role's password was stored with more or fewer SCRAM iterations than the gateway takes",
                "See scram_iterations on the server, and limits.scram_iterations_max here.",
            )
        case "protocol":
            return "what answers does not keep to PostgreSQL's protocol", "Check that PostgreSQL itself listens there."
        case _:
            return "the server closed the connection during the login", "The server's own log says why."
