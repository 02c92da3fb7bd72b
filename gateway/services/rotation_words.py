"""What a rotation came to, and its words for people. Nothing of what the server said but its SQLSTATE."""

from dataclasses import dataclass
from typing import Final

from gateway.custody.rotation import Step
from gateway.custody.upstream_admin import UpstreamAdminError
from gateway.services.rotation_rows import Which

_UNREACHABLE: Final = frozenset({"unreachable", "closed"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why it did not go on, and what to do."""

    problem: str
    remedy: str = ""
    sqlstate: str = ""


@dataclass(frozen=True, slots=True)
class OldSession:
    """Somebody who logged in with the former password and is still there. `since` as the server writes it, in UTC."""

    process_id: int
    address: str
    application: str
    state: str
    since: str


@dataclass(frozen=True, slots=True)
class Rotated:
    """What became of one login. `end`: DONE, or one of the other ends of custody.rotation.

    `also`: what else of this target is the same login. `finished_earlier`: it was begun by an earlier run. `shared_with`: targets
    that use the same login, which have the new password too. `old_refused`: the SQLSTATE with which the server refuses the former
    password; None: nobody asked, or it was not refused.
    """

    target: str
    which: Which
    login: str
    end: Step
    also: tuple[Which, ...] = ()
    finished_earlier: bool = False
    shared_with: tuple[str, ...] = ()
    old_refused: str | None = None
    old_sessions: tuple[OldSession, ...] = ()
    ended_sessions: int = 0
    notes: tuple[str, ...] = ()
    trouble: Trouble | None = None


IN_RECOVERY: Final = Trouble(
    "the server is a read replica: its logins come from the primary server", "Rotate a target at the primary server."
)
OVERTAKEN: Final = Trouble("the login was changed here meanwhile", "Look at it, then say it again.")
NO_LEASE: Final = Trouble("this process was held up for so long that another may be at work", "Say it again.")


def of_login(error: UpstreamAdminError, login: str, which: Which, target: str) -> Trouble:
    """Of a login with the password that the gateway has."""
    state = error.sqlstate
    match error.kind, state:
        case _, "28P01":
            again = f"pgbastion targets login {target} --mode {which.value} --login {login}"
            how = f"Adopt it again: pgbastion targets adopt {target}" if which is Which.ADMIN else f"Set the right one: {again}"
            return Trouble(f'the server refuses the password that the gateway has for "{login}" (28P01)', how, state)
        case _, "53300":
            return Trouble(f'the server has no connection left for "{login}" (53300)', "Try again later.", state)
        case kind, _ if kind in _UNREACHABLE:
            return Trouble("the server cannot be reached", f"pgbastion targets test {target} says where it fails.", state)
        case kind, _:
            what = f"{kind}, {state}" if state else kind
            return Trouble(f'"{login}" could not log in ({what})', f"pgbastion targets test {target} says more.", state)


def of_change(error: UpstreamAdminError, login: str) -> Trouble:
    """Of the statement that sets a password."""
    state = error.sqlstate
    match error.kind, state:
        case "statement", "42501":
            how = "Where a platform keeps passwords to itself, change it there, then: pgbastion targets login"
            return Trouble(f'the server does not let "{login}" have another password (42501)', how, state)
        case "statement", _:
            how = (
                "An extension that checks passwords may refuse those that come as a verifier; none is ever sent in clear text."
            )
            return Trouble(f'the server refused the new password of "{login}" ({state})', how, state)
        case _:
            return Trouble(
                "the server did not say whether it took the new password",
                "Both are tried at each login; say it again, or wait: the gateway finishes it by itself.",
                state,
            )
