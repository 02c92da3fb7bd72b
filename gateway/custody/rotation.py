"""How the password of a login is changed so that at every moment one of the two that the store knows is the server's. Pure.

The store holds a *current* password and, during a rotation, a *pending* one; who logs in tries both. So the pending one is in the
store before the server hears of it, and the current one stays there until the new one has been seen to work. Whatever breaks off
in between leaves a pair of which one works; the next run finds out which, and goes on with the same pending password. A run only
ever goes forward, but for one case: the server took the new password and then lets nobody in with it.

`next_step` says what to do, `after` what is known once it was done.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


class Step(StrEnum):
    """What a run does next; the last four are its ends."""

    TRY_CURRENT = "try-current"  # log in with the current password; the connection is kept open
    TRY_PENDING = "try-pending"  # log in with the pending one, over a connection of its own
    STAGE = "stage"  # write a new pending password into the store
    SET = "set"  # give the server the pending one, over the connection that is open
    PUT_BACK = "put-back"  # give the server the current one again, over that connection
    PROMOTE = "promote"  # the pending password becomes the current one in the store
    UNSTAGE = "unstage"  # the store forgets the pending one
    DONE = "done"  # store and server agree on the new password
    FAILED = "failed"  # nothing was changed, or all was put back
    HALF_DONE = "half-done"  # both passwords stay in the store, one of them works: the next run goes on
    STUCK = "stuck"  # neither of the two works, and there is nobody who could set one

    @property
    def is_end(self) -> bool:
        return self in (Step.DONE, Step.FAILED, Step.HALF_DONE, Step.STUCK)


class Answer(StrEnum):
    """What came of a step. NO is the server's own word; UNKNOWN: it did not answer, or said something else."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Known:
    """What a run knows. None: not asked yet. `helped`: another login is at hand that may set this one's password.

    `set` and `put_back`: what the server said to them. `over`: the store was brought to its end.
    """

    staged: bool
    helped: bool
    current: Answer | None = None
    pending: Answer | None = None
    set: Answer | None = None
    put_back: Answer | None = None
    over: Step | None = None


def begin(*, staged: bool, helped: bool) -> Known:
    """`staged`: an earlier run left a pending password."""
    return Known(staged, helped)


def next_step(known: Known) -> Step:
    if known.over is not None:
        return known.over
    if not known.staged:
        return _before_staging(known)
    match known.pending:
        case None:
            return Step.TRY_PENDING
        case Answer.YES:
            return Step.PROMOTE
        case Answer.NO | Answer.UNKNOWN if known.set is Answer.YES:
            return _not_proven(known)
        case Answer.UNKNOWN:
            return Step.HALF_DONE
        case Answer.NO:
            return _not_set(known)


def _before_staging(known: Known) -> Step:
    match known.current:
        case None:
            return Step.TRY_CURRENT
        case Answer.YES:
            return Step.STAGE
        case Answer.NO if known.helped:
            return Step.STAGE
        case _:
            return Step.FAILED


def _not_set(known: Known) -> Step:
    """The server does not have the pending password."""
    match known.set:
        case Answer.NO:  # nor will it take it
            return Step.UNSTAGE
        case Answer.UNKNOWN:  # it may have it a moment later
            return Step.HALF_DONE
        case _:
            pass
    match known.current:
        case None:
            return Step.TRY_CURRENT
        case Answer.YES:
            return Step.SET
        case Answer.NO:
            return Step.SET if known.helped else Step.STUCK
        case Answer.UNKNOWN:
            return Step.HALF_DONE


def _not_proven(known: Known) -> Step:
    """The server took the pending password, and does not let us in with it."""
    match known.put_back:
        case None if known.current is Answer.YES:
            return Step.PUT_BACK
        case Answer.YES:
            return Step.UNSTAGE
        case _:
            return Step.HALF_DONE


def after(known: Known, step: Step, answer: Answer) -> Known:
    """`answer` of PROMOTE and UNSTAGE: NO when the store holds something else by now, so that this run has no say any more.

    Then it ends half done: what is there is for the next run to look at.
    """
    match step:
        case Step.TRY_CURRENT:
            return replace(known, current=answer)
        case Step.TRY_PENDING:
            return replace(known, pending=answer)
        case Step.STAGE if answer is Answer.YES:
            return replace(known, staged=True, pending=Answer.NO)  # nobody but us knows it
        case Step.STAGE:
            return replace(known, over=Step.FAILED)
        case Step.SET:
            return replace(known, set=answer, pending=None if answer is Answer.YES else known.pending)
        case Step.PUT_BACK:
            return replace(known, put_back=answer)
        case Step.PROMOTE:
            return replace(known, over=Step.DONE if answer is Answer.YES else Step.HALF_DONE)
        case Step.UNSTAGE:
            return replace(known, over=Step.FAILED if answer is Answer.YES else Step.HALF_DONE)
        case _:
            raise ValueError(f"nothing follows {step}")
