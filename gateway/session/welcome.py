"""What a client reads when it is let in: AuthenticationOk to ReadyForQuery. (Documentation: "Start-up".)"""

from collections.abc import Mapping

from gateway.wire import backend, sqlstate
from gateway.wire.backend import ErrorFields


def build_welcome(statuses: Mapping[str, str], user: str, key: tuple[int, bytes] | None, notice: str) -> bytes:
    """`statuses` as upstream reported them, but the name is the person's own; `key`: ours, None when nothing can be cancelled."""
    reported = {**statuses, "session_authorization": user}
    parts = [backend.AUTHENTICATION_OK]
    parts += [backend.parameter_status(name, value) for name, value in reported.items()]
    if key is not None:
        parts.append(backend.backend_key_data(*key))
    if notice:
        parts.append(backend.build_notice(ErrorFields("NOTICE", sqlstate.SUCCESS, notice)))
    return b"".join((*parts, backend.ready_for_query(b"I")))
