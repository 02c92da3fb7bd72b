"""Looking at a target: could a session be opened there now, and is what it would log in as as weak as it should be?

The login is that of a session, by the same code and with the same settings, so that what is said here is what a session gets.
Name, address and TLS are tried before it, on connections of their own, because a session's one answer cannot tell them apart.
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Final, cast

from gateway.access.model import DatabaseRole, Target, TlsMode
from gateway.access.secret_reference import SecretProvider
from gateway.access_mode import AccessMode
from gateway.ports import CheckStep
from gateway.proxy import target_causes as causes
from gateway.proxy.target_findings import Facts, judge_database, judge_role, judge_settings
from gateway.proxy.target_questions import ATTRIBUTES, DATABASE, WRITABLE, Interview
from gateway.proxy.tls import TlsError, upstream_context
from gateway.proxy.upstream import Place, UpstreamConnection, UpstreamDialer, connect
from gateway.proxy.upstream_plan import plan_of
from gateway.session.startup_settings import Wishes, label_of
from gateway.session.upstream_login import UpstreamRefused, Welcome

_ADDRESSES: Final = 8  # as many as a session tries
_NO_WISHES: Final = Wishes((), "", "")


@dataclass(frozen=True, slots=True)
class _Address:
    """One that getaddrinfo found."""

    family: int
    sockaddr: tuple[str, int]


async def check_target(
    dialer: UpstreamDialer,
    target: Target,
    role: DatabaseRole,
    *,
    mode: AccessMode,
    timeout_seconds: float,
    iterations_max: int,
) -> list[CheckStep]:
    """dns, tcp, tls, login, role, database, settings: in this order, ending with the first that fails.

    `timeout_seconds` bounds each step, as it bounds the whole of a session's dial. A step that is ok may still carry advice in
    `remedy`. No step holds a secret, or words of the server.
    """
    steps = await _check_network(target, timeout_seconds)
    if not steps[-1].ok:
        return steps
    plan = plan_of(target, role, mode, label_of("pgbastion", "targets-test"), _NO_WISHES, iterations_max)
    try:
        async with asyncio.timeout(timeout_seconds):
            connection, welcome, _ = await dialer.open(target, role, plan)
    except (UpstreamRefused, TimeoutError) as error:
        refused = UpstreamRefused("unreachable", "no answer in time") if isinstance(error, TimeoutError) else error
        return steps + _refusal(refused, target, role, mode)
    steps.append(_logged_in(role, welcome, target))
    return steps + await _check_inside(connection, welcome, target, role, mode, timeout_seconds)


async def _check_network(target: Target, timeout_seconds: float) -> list[CheckStep]:
    try:
        async with asyncio.timeout(timeout_seconds):
            addresses = await _resolve(target)
    except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
        return [causes.dns_failed(target, error)]
    found = ", ".join(dict.fromkeys(address.sockaddr[0] for address in addresses))
    steps = [CheckStep("dns", ok=True, detail=f"{target.host}: {found}" if found != target.host else f"{found} is an address")]
    tried = addresses[0]
    try:
        async with asyncio.timeout(timeout_seconds):
            for tried in addresses:  # a session takes the first that answers, too
                try:
                    await _knock(tried)
                    break
                except OSError:
                    if tried is addresses[-1]:
                        raise
    except OSError as error:
        return [*steps, causes.tcp_failed(target, tried.sockaddr[0], error)]
    steps.append(CheckStep("tcp", ok=True, detail=f"{tried.sockaddr[0]} port {target.port} takes connections"))
    return [*steps, await _check_tls(target, tried, timeout_seconds)]


async def _resolve(target: Target) -> list[_Address]:
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    if not infos:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return [_Address(family, cast("tuple[str, int]", address)) for family, _, _, _, address in infos[:_ADDRESSES]]


async def _knock(address: _Address) -> None:
    """Connect, and close without a byte: PostgreSQL does not even log that."""
    with socket.socket(address.family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)


async def _check_tls(target: Target, address: _Address, timeout_seconds: float) -> CheckStep:
    if target.tls is TlsMode.DISABLE:
        advice = (
            f"Everybody on the way can read and change it. Better: pgbastion targets update {target.name} --tls verify-full"
        )
        return CheckStep("tls", ok=True, detail="not used, as the target says", remedy=advice)
    try:
        place = Place(address.family, address.sockaddr, upstream_context(target.tls, target.ca_pem), target.host)
        async with asyncio.timeout(timeout_seconds):
            transport, _ = await connect(place, asyncio.Protocol)
    except (OSError, TlsError) as error:
        return causes.tls_failed(target, error)
    version = cast("ssl.SSLObject", transport.get_extra_info("ssl_object")).version()
    transport.abort()
    match target.tls:
        case TlsMode.VERIFY_FULL:
            return CheckStep("tls", ok=True, detail=f"{version}, the certificate is for {target.host} and verifies")
        case TlsMode.VERIFY_CA:
            proof, weak = "the certificate verifies", "another server with a certificate of that CA can take its place"
        case TlsMode.REQUIRE:
            proof, weak = "the certificate is not looked at", "anybody on the way can take the server's place"
    advice = f"As it is, {weak}. Better: pgbastion targets update {target.name} --tls verify-full"
    return CheckStep("tls", ok=True, detail=f"{version}, {proof}", remedy=advice)


def _refusal(refused: UpstreamRefused, target: Target, role: DatabaseRole, mode: AccessMode) -> list[CheckStep]:
    """The failing step; a login that went well before it is said, too."""
    step = causes.refused(refused, target, role, mode)
    before_login = step.name == "login" or (step.name == "settings" and refused.sqlstate != "")
    return [step] if before_login else [CheckStep("login", ok=True, detail=f'the server let "{role.login}" in'), step]


def _logged_in(role: DatabaseRole, welcome: Welcome, target: Target) -> CheckStep:
    if welcome.used_md5:
        advice = (
            "md5 is weak, and does not prove that this is the right server. Set password_encryption = 'scram-sha-256' and the "
            f"password again; then pgbastion targets update {target.name} --forbid-md5"
        )
        return CheckStep("login", ok=True, detail=f'as "{role.login}", by md5', remedy=advice)
    if role.reference is not None and role.reference.provider is SecretProvider.RDS_IAM and not welcome.used_channel_binding:
        return CheckStep("login", ok=True, detail=f'as "{role.login}", by a password or token that was fetched for it')
    how = "SCRAM-SHA-256 bound to the TLS channel" if welcome.used_channel_binding else "SCRAM-SHA-256"
    return CheckStep("login", ok=True, detail=f'as "{role.login}", by {how}')


async def _check_inside(
    connection: UpstreamConnection,
    welcome: Welcome,
    target: Target,
    role: DatabaseRole,
    mode: AccessMode,
    timeout_seconds: float,
) -> list[CheckStep]:
    interview = Interview(connection)
    steps: list[CheckStep] = []
    try:
        async with asyncio.timeout(timeout_seconds):
            attributes = await interview.ask(ATTRIBUTES)
            writable = await interview.ask(WRITABLE) if mode is AccessMode.READ_ONLY else []
            steps.append(judge_role(role, mode, attributes, writable, target))
            if steps[-1].ok:
                facts = Facts.of(await interview.ask(DATABASE))
                steps += [judge_database(target, role, mode, facts), judge_settings(mode, welcome, facts)]
    except (UpstreamRefused, TimeoutError):
        steps.append(causes.no_answer("database" if steps else "role"))
    finally:
        interview.close()
    return steps
