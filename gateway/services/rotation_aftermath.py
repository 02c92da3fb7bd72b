"""After a rotation: is the former password dead, and who is still there by it?"""

from dataclasses import replace

from gateway.custody.rotation import Answer
from gateway.custody.upstream_admin import UpstreamAdminError
from gateway.secret import Secret
from gateway.services.rotation_logins import lets_in, still_there
from gateway.services.rotation_means import Means
from gateway.services.rotation_rows import Slot, Which
from gateway.services.rotation_words import Rotated


async def look_back(
    done: Rotated, means: Means, slot: Slot, former: Secret, new: Secret, ours: frozenset[int], *, end: bool
) -> Rotated:
    """`ours`: process ids of connections that the run itself had. `end`: end those who are still there by the former one."""
    if means.asks_the_dead:
        answer, error = await lets_in(means.connect, slot, former)
        if answer is Answer.YES:
            done = replace(done, notes=(*done.notes, "the former password still logs in: does the server ask for one?"))
        elif error is not None:
            done = replace(done, old_refused=error.sqlstate or error.kind)
    if slot.which is not Which.ADMIN:
        return done
    try:
        found, ended, refused = await still_there(means.connect, slot, new, ours, end=end)
    except UpstreamAdminError as error:
        note = f"who is still logged in could not be asked ({error.sqlstate or error.kind})"
        return replace(done, notes=(*done.notes, note))
    done = replace(done, old_sessions=tuple(found), ended_sessions=ended)
    if refused is not None:
        note = f'"{slot.login}" may not end sessions here ({refused.sqlstate or refused.kind}): a superuser has to'
        done = replace(done, notes=(*done.notes, note))
    return done
