"""Looking at a target's role: what could it do if the parser failed? Asked of the server, over a session like a person's."""

import asyncio
from typing import Final

from gateway.access.model import DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.ports import RoleAudit, RoleFinding, Severity
from gateway.proxy import role_findings as findings
from gateway.proxy import role_questions as questions
from gateway.proxy import target_causes as causes
from gateway.proxy.role_findings import Given
from gateway.proxy.target_questions import Interview, Row
from gateway.proxy.upstream import UpstreamDialer
from gateway.proxy.upstream_plan import major_of, plan_of
from gateway.session.startup_settings import Wishes, label_of
from gateway.session.upstream_login import UpstreamRefused

# What the questions rely on; in the startup packet it beats what the role or the database has.
_WISHES: Final = Wishes((("search_path", "pg_catalog"),), "", "")
_WEIGHTS: Final = list(Severity)
_GRANTS: Final = (
    questions.CREATING,
    questions.WRITING,
    questions.CALLING,
    questions.ACTING,
    questions.FOREIGN,
    questions.SECRETS,
)


async def audit_target(
    dialer: UpstreamDialer,
    target: Target,
    role: DatabaseRole,
    *,
    mode: AccessMode,
    timeout_seconds: float,
    iterations_max: int,
) -> RoleAudit:
    """The heaviest findings first. `timeout_seconds` bounds the login, and the questions. Nothing holds a secret."""
    plan = plan_of(target, role, mode, label_of("pgbastion", "targets-audit"), _WISHES, iterations_max)
    try:
        async with asyncio.timeout(timeout_seconds):
            connection, welcome, _ = await dialer.open(target, role, plan)
    except (UpstreamRefused, TimeoutError) as error:
        refused = UpstreamRefused("unreachable", "no answer in time") if isinstance(error, TimeoutError) else error
        if refused.kind == "superuser":
            return RoleAudit(role.login, (findings.superuser(role.login),))
        return RoleAudit(role.login, obstacle=causes.refused(refused, target, role, mode))
    interview = Interview(connection)
    try:
        async with asyncio.timeout(timeout_seconds):
            found = await _ask_all(interview, role.login, mode, major_of(welcome))
    except (UpstreamRefused, TimeoutError, ValueError):
        return RoleAudit(role.login, obstacle=causes.no_answer("role"))
    finally:
        interview.close()
    return RoleAudit(role.login, tuple(sorted(found, key=lambda each: _WEIGHTS.index(each.severity))))


async def _ask_all(interview: Interview, login: str, mode: AccessMode, major: int) -> list[RoleFinding]:
    """Raises UpstreamRefused, and ValueError for an answer that is none."""
    found = findings.judge_roles(await interview.ask(questions.ROLES), login)
    found += findings.judge_owned(await interview.ask(questions.OWNED))
    asked = _GRANTS if major < questions.PARAMETERS_SINCE else (*_GRANTS, questions.PARAMETERS)
    given = [Given.of(row) for question in asked for row in await interview.ask(question)]
    found += findings.judge_grants((each for each in given if each.kind != "mapping"), mode)
    found += findings.judge_mappings(each for each in given if each.kind == "mapping")
    found += findings.judge_defaults(_only(await interview.ask(questions.DEFAULTS)), login, mode, major)
    return found


def _only(rows: list[Row]) -> Row:
    (row,) = rows
    return row
