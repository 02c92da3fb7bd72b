"""Whom a startup packet claims to be, before any proof: known and unknown people must look the same."""

from dataclasses import dataclass
from typing import Final

import structlog

from gateway.access.model import Snapshot, User, UserKind
from gateway.access.proof import ClientCertificate, Credential, Proof, bears_one_of, split_login
from gateway.access.verifiers import VerifierError, mock_verifier, parse_verifier
from gateway.proxy.worker import Worker
from gateway.wire.scram import ServerKeys

_log: Final = structlog.stdlib.get_logger("gateway.login")


@dataclass(frozen=True, slots=True)
class Candidate:
    """`user` is None for whoever can never prove it; `why_unknown` is an audit word then. The keys are mock ones, never to fit.

    `proof`: what stands for the user's own password. A certificate is proof already; a credential's password is yet to be given.
    """

    user: User | None
    keys: ServerKeys
    why_unknown: str
    proof: Proof | None = None

    @property
    def is_proved(self) -> bool:
        return isinstance(self.proof, ClientCertificate)


def candidate_of(worker: Worker, name: str, certificate: ClientCertificate | None = None) -> Candidate:
    """Of an unknown name, or a user whose stored verifier is broken, the keys are made up: alike each time, in every worker.

    `certificate`: that of the connection, verified. Whose name it does not bear is asked for a password like everybody else.
    """
    found = _known(worker.directory.snapshot, name)
    why = "unknown-user"
    if found is not None:
        user, credential = found
        try:
            verifier = parse_verifier(user.verifier if credential is None else credential.verifier)
        except VerifierError:
            why = "corrupt-verifier"
            _log.error("a stored verifier is corrupt: set a new password, or issue another credential", user=name)
        else:
            keys = ServerKeys(verifier.iterations, verifier.salt, verifier.stored_key, verifier.server_key)
            proved = credential is None and _is_of(certificate, user)
            return Candidate(user, keys, "", certificate if proved else credential)
    mock = mock_verifier(name, worker.mock_secret)
    return Candidate(None, ServerKeys(mock.iterations, mock.salt, mock.stored_key, mock.server_key), why)


def _is_of(certificate: ClientCertificate | None, user: User) -> bool:
    """A person never logs in with one."""
    return certificate is not None and user.kind is UserKind.MACHINE and bears_one_of(certificate, user.certificate_names)


def _known(snapshot: Snapshot, name: str) -> tuple[User, Credential | None] | None:
    user_name, handle = split_login(name)
    user = snapshot.users.get(user_name)
    if handle is None or user is None:
        return None if user is None else (user, None)
    credential = snapshot.credentials.get(handle)
    return None if credential is None or credential.user_id != user.id else (user, credential)
