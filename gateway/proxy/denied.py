"""Statements that were refused and can be asked for, each under a short code of its person's, which the refusal's hint tells.

In this worker's memory alone, bounded and for an hour: whoever asks by the code has the text from here, over the bus.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.access.asking import Scope
from gateway.access.electorate import policy_for
from gateway.access.model import Lease, Snapshot
from gateway.access_mode import AccessMode
from gateway.bus.lines import Payload
from gateway.judging.ways_out import Sought, WayOut
from gateway.session.verdicts import Judged
from gateway.statements.policy import Policy, is_small

_KEPT_SECONDS: Final = 3600.0
_MOST: Final = 2000
_MOST_OF_ONE: Final = 100
_MOST_BYTES: Final = 4 * 1024 * 1024
_MOST_LOOKED_AT: Final = 2000
#: Bytes of a text whose way out is sought: a longer one is asked for by its file.
_LONGEST: Final = 2048
#: Of a code: digits and letters that nobody takes for one another. Eight of them: one in 10^12.
_LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"
_CODE_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class _Kept:
    code: str = field(repr=False)
    user_id: str
    target_id: str
    text: str
    scope: Scope
    until: float  # monotonic


class DeniedStatements:
    """Of this worker's sessions. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[bytes, _Kept] = {}  # the oldest first
        self._bytes = 0
        self._codes: dict[str, bytes] = {}
        self._looked_at: dict[tuple[str, bytes], WayOut | None] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def way_out(self, snapshot: Snapshot, lease: Lease, judged: Judged, inline_bytes: int) -> str | None:
        """What the hint of its refusal tells besides; "" where nothing can be asked for; None: seek it, and `learn`."""
        target, policy = lease.target, judged.policy
        opened = any(each.environment_id == target.environment_id for each in snapshot.approval_policies.values())
        if not opened or policy is None or not is_small(judged.sql, min(inline_bytes, _LONGEST)):
            return ""
        key = _key(policy, judged)
        if key not in self._looked_at:
            return None
        found = self._looked_at[key]
        if found is None or policy_for(snapshot, target.environment_id, found.mode) is None:
            return ""
        if lease.user.read_only and found.mode is AccessMode.READ_WRITE:
            return ""
        scope = Scope.EXACT if found.exact else Scope.RELATIONS
        code = self.keep(lease.user.id, target.id, judged.sql.decode(), scope)
        return f"Or ask for it: pgbastion request create --from {code}, or here: SELECT pgbastion.request(code => '{code}')"

    def learn(self, judged: Judged, sought: Sought) -> None:
        """The answer for `way_out`, of this text under this policy."""
        if judged.policy is None:
            return
        if len(self._looked_at) >= _MOST_LOOKED_AT:
            self._looked_at.clear()
        self._looked_at[_key(judged.policy, judged)] = sought.way

    def keep(self, user_id: str, target_id: str, text: str, scope: Scope) -> str:
        """The code of this person's text; the same as long as it is kept."""
        self._drop_old()
        key = _digest(user_id.encode(), target_id.encode(), text.encode())
        known = self._kept.pop(key, None)
        if known is None:
            of_theirs = [each for each, kept in self._kept.items() if kept.user_id == user_id]
            for each in of_theirs[: max(0, len(of_theirs) + 1 - _MOST_OF_ONE)]:
                self._drop(each)
            code = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH))
            self._codes[code] = key
            self._bytes += len(text)
        else:
            code = known.code
        self._kept[key] = _Kept(code, user_id, target_id, text, scope, self._clock() + _KEPT_SECONDS)
        while len(self._kept) > _MOST or self._bytes > _MOST_BYTES:
            self._drop(next(iter(self._kept)))
        return code

    def find(self, code: str, user_id: str, snapshot: Snapshot) -> Payload | None:
        """For who it was told to; None: nobody else has it, or it is over."""
        self._drop_old()
        key = self._codes.get(code.strip().lower())
        kept = None if key is None else self._kept.get(key)
        if kept is None or kept.user_id != user_id:
            return None
        target = next((each for each in snapshot.targets.values() if each.id == kept.target_id), None)
        return None if target is None else {"target": target.name, "statement": kept.text, "scope": kept.scope.value}

    def _drop_old(self) -> None:
        now = self._clock()
        while self._kept and self._kept[oldest := next(iter(self._kept))].until <= now:
            self._drop(oldest)

    def _drop(self, key: bytes) -> None:
        gone = self._kept.pop(key)
        self._bytes -= len(gone.text)
        del self._codes[gone.code]


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"\0".join(parts)).digest()


def _key(policy: Policy, judged: Judged) -> tuple[str, bytes]:
    return policy.revision, _digest(judged.sql)
