"""Whom a startup packet claims to be, before any proof: known and unknown people must look the same."""

from dataclasses import dataclass
from typing import Final

import structlog

from gateway.access.model import User
from gateway.access.verifiers import VerifierError, mock_verifier, parse_verifier
from gateway.proxy.worker import Worker
from gateway.wire.scram import ServerKeys

_log: Final = structlog.stdlib.get_logger("gateway.login")


@dataclass(frozen=True, slots=True)
class Candidate:
    """`user` is None for whoever can never prove it; `why_unknown` is an audit word then. The keys are mock ones, never to fit."""

    user: User | None
    keys: ServerKeys
    why_unknown: str


def candidate_of(worker: Worker, name: str) -> Candidate:
    """Of an unknown name, or a user whose stored verifier is broken, the keys are made up: alike each time, in every worker."""
    user = worker.directory.snapshot.users.get(name)
    why = "unknown-user"
    if user is not None:
        try:
            verifier = parse_verifier(user.verifier)
            return Candidate(user, ServerKeys(verifier.iterations, verifier.salt, verifier.stored_key, verifier.server_key), "")
        except VerifierError:
            why = "corrupt-verifier"
            _log.error("a user's stored verifier is corrupt: set a new password", user=name)
    mock = mock_verifier(name, worker.mock_secret)
    return Candidate(None, ServerKeys(mock.iterations, mock.salt, mock.stored_key, mock.server_key), why)
