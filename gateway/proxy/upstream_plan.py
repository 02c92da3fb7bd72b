"""What every upstream session is asked for, whoever opens it: a person's session, a look at a target, a reading of its catalog."""

from gateway.access.model import DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.session.startup_settings import Wishes, pinned_settings, upstream_parameters
from gateway.session.upstream_login import UpstreamPlan, Welcome


def plan_of(
    target: Target, role: DatabaseRole, mode: AccessMode, label: str, wishes: Wishes, iterations_max: int
) -> UpstreamPlan:
    """What every session in this access mode asks of upstream, and what upstream must report then."""
    parameters = upstream_parameters(role.login, target.dbname, mode, label, wishes)
    return UpstreamPlan(parameters, mode, pinned_settings(mode, role.login), target.allow_md5, iterations_max)


def major_of(welcome: Welcome) -> int:
    """The server's major version, 0 when it does not say."""
    digits = welcome.statuses.get("server_version", "").split(".")[0]
    return int("".join(c for c in digits if c.isdigit()) or 0)
