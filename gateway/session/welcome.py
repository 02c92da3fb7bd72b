"""What a client reads when it is let in: AuthenticationOk to ReadyForQuery. (Documentation: "Start-up".)"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from gateway.access.verifiers import DEFAULT_ITERATIONS
from gateway.wire import backend, sqlstate
from gateway.wire.backend import ErrorFields

_LONGEST: Final = 100  # characters of what is remembered
NOTHING_MORE: Final[Mapping[str, str]] = MappingProxyType({})
_ITERATIONS: Final = "scram_iterations"
_OUR_ITERATIONS: Final = str(DEFAULT_ITERATIONS)
#: Most of what one server reports, it reports in each session.
_usual_status: Final = lru_cache(maxsize=512)(backend.parameter_status)


#: A client of this name (application_name) is told the rules for new passwords, and under which name.
PASSWORD_COMMAND: Final = "pgbastion passwd"  # noqa: S105
PASSWORD_RULES: Final = "pgbastion.password_rules"  # noqa: S105


def build_welcome(
    statuses: Mapping[str, str], user: str, key: tuple[int, bytes] | None, notice: str, more: Mapping[str, str] = NOTHING_MORE
) -> bytes:
    """`statuses` as upstream reported them, but the name is the person's own; `key`: ours, None when nothing can be cancelled.

    `more`: what the gateway reports besides.
    """
    reported = {**statuses, "session_authorization": user, **more}
    if _ITERATIONS in reported:  # with which clients make a verifier of a new password: it will be the gateway's
        reported[_ITERATIONS] = _OUR_ITERATIONS
    parts = [backend.AUTHENTICATION_OK]
    for name, value in reported.items():
        usual = name != "application_name" and len(name) + len(value) < _LONGEST
        parts.append((_usual_status if usual else backend.parameter_status)(name, value))
    if key is not None:
        parts.append(backend.backend_key_data(*key))
    if notice:
        parts.append(backend.build_notice(ErrorFields("NOTICE", sqlstate.SUCCESS, notice)))
    return b"".join((*parts, backend.ready_for_query(b"I")))
