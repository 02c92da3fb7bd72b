"""What a session asks of the shell around it, besides carrying its bytes."""

from dataclasses import KW_ONLY, dataclass, field

from gateway.secret import Secret
from gateway.session.verdicts import Judged
from gateway.statements.addressed import Addressed
from gateway.statements.policy import Policy
from gateway.wire.backend import ErrorFields
from gateway.wire.scram import Challenge


@dataclass(frozen=True, slots=True)
class JudgeElsewhere:
    """This text is too large or too deep for the event loop. Answer with `ClientSide.judged`."""

    sql: bytes
    policy: Policy


@dataclass(frozen=True, slots=True)
class End:
    """The session is over for this reason. `farewell` is for the client, None: say nothing.

    `distrust`: upstream broke its word, and is cut off instead of being left in good order.
    """

    reason: str
    farewell: ErrorFields | None = None
    _: KW_ONLY
    distrust: bool = False


@dataclass(frozen=True, slots=True)
class ClientQuit:
    """The client sent Terminate: its bytes are on their way upstream, which will close."""


@dataclass(frozen=True, slots=True)
class CatalogTouched:
    """DDL ran, and its transaction is over: what is known of the database may be out of date."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """The client's side has more than it may do at once. Say `ClientSide.go_on` when others had their turn."""


@dataclass(frozen=True, slots=True)
class ReadOn:
    """As `GoOn`, of upstream's side: say `UpstreamSide.go_on`, and do not read from upstream before that."""


@dataclass(frozen=True, slots=True)
class NameAgain:
    """Send `Facts.name_again` upstream now: the ledger has them already."""


@dataclass(frozen=True, slots=True)
class StopStatement:
    """Cancel what runs upstream, whose reply was cut, and again until `Watched.answered`; then say `Watched.cancel_over` and
    resume the client's side, which is on hold until no cancel can hit anything else.
    """


@dataclass(frozen=True, slots=True)
class ChangeOwnPassword:
    """Have the gateway know this person by another verifier. Answer with `ClientSide.password_changed`."""

    sql: bytes = field(repr=False)
    verifier: Secret


@dataclass(frozen=True, slots=True)
class AnswerAddressed:
    """The person asks the gateway something by this statement. Answer with `ClientSide.answered`."""

    sql: bytes = field(repr=False)
    asked: Addressed


@dataclass(frozen=True, slots=True)
class SeekWayOut:
    """How can this refused text be asked for? Answer with `ClientSide.way_out_found`, whatever comes of it."""

    judged: Judged


@dataclass(frozen=True, slots=True)
class DeriveKeys:
    """Compute upstream's client keys off the event loop. Answer with `UpstreamLogin.derived`."""

    challenge: Challenge


Effect = (
    JudgeElsewhere
    | End
    | ClientQuit
    | CatalogTouched
    | NameAgain
    | ChangeOwnPassword
    | AnswerAddressed
    | StopStatement
    | SeekWayOut
    | GoOn
    | ReadOn
)


def fatal(sqlstate: str, message: str, hint: str = "", detail: str = "") -> ErrorFields:
    return ErrorFields("FATAL", sqlstate, message, detail=detail, hint=hint)
