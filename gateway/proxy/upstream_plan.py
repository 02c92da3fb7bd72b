"""What every upstream session is asked for, whoever opens it: a person's session, a look at a target, a reading of its catalog."""

from gateway.access.model import DatabaseRole, Target, TlsMode
from gateway.access.secret_reference import SecretProvider
from gateway.access_mode import AccessMode
from gateway.session.startup_settings import Wishes, pinned_settings, upstream_parameters
from gateway.session.upstream_login import UpstreamPlan, Welcome, reported_major


def plan_of(
    target: Target, role: DatabaseRole, mode: AccessMode, label: str, wishes: Wishes, iterations_max: int
) -> UpstreamPlan:
    """What every session in this access mode asks of upstream, and what upstream must report then."""
    parameters = upstream_parameters(role.login, target.dbname, mode, label, wishes)
    pinned = pinned_settings(mode, role.login)
    return UpstreamPlan(parameters, mode, pinned, target.allow_md5, iterations_max, _is_token(target, role))


def _is_token(target: Target, role: DatabaseRole) -> bool:
    return (
        role.reference is not None
        and role.reference.provider is SecretProvider.RDS_IAM
        and target.tls in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL)
    )


def major_of(welcome: Welcome) -> int:
    """The server's major version, 0 when it does not say."""
    return reported_major(welcome.statuses)
