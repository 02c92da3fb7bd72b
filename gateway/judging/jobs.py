"""What a judging child is asked for, and what is said where it was not done."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.judging.codec import decode_reply, decode_sought, encode_request, encode_search
from gateway.judging.ways_out import Search, Sought
from gateway.statements.policy import Policy
from gateway.statements.verdict import Facts, Verdict

_TOO_COMPLEX: Final = "statement-too-complex"

Done = Callable[[Verdict], None]
Found = Callable[[Sought | None], None]


@dataclass(slots=True)
class Job:
    """A text to be judged."""

    sql: bytes
    policy: Policy
    done: Done
    deadline: float  # on the loop's clock

    def request(self) -> bytes:
        return encode_request(self.sql, self.policy)

    def answer(self, payload: bytes) -> Callable[[], None]:
        """What is to be called with what came. Raises CodecError."""
        return self.refusal(decode_reply(payload))

    def refusal(self, verdict: Verdict) -> Callable[[], None]:
        """The same where nobody judged it."""
        return partial(self.done, verdict)


@dataclass(slots=True)
class SearchJob:
    """A refused text whose way out is sought."""

    search: Search
    found: Found
    deadline: float

    @property
    def sql(self) -> bytes:
        return self.search.sql

    @property
    def policy(self) -> Policy:
        return self.search.policy

    def request(self) -> bytes:
        return encode_search(self.search)

    def answer(self, payload: bytes) -> Callable[[], None]:
        return partial(self.found, decode_sought(payload))

    def refusal(self, verdict: Verdict) -> Callable[[], None]:
        """What is too much for a child is not to be tried again; a busy one is."""
        return partial(self.found, Sought(None) if verdict.rule == _TOO_COMPLEX else None)


def too_complex(why: str) -> Verdict:
    """Not to be tried again."""
    return Verdict(
        False,
        _TOO_COMPLEX,
        Facts(""),
        "54001",
        f"the statement is too complex to be judged: {why} (rule statement-too-complex)",
        "Split it, or move long lists into a table or an array parameter.",
    )


def busy(why: str) -> Verdict:
    """For the moment."""
    return Verdict(
        False, "gateway-busy", Facts(""), "53400", f"gateway busy: {why} (rule gateway-busy)", "Try again in a moment."
    )
