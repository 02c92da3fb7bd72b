"""What another proof than the own password is worth now: a short-lived credential, a client certificate. Pure."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from gateway.access.denials import address_refused
from gateway.access.model import Denial, Snapshot, Target, User, UserKind
from gateway.access.proof import ClientCertificate, Credential, Proof, bears_one_of
from gateway.access.selection import includes
from gateway.access_mode import AccessMode

_ISSUE_AGAIN: Final = "Issue another one: pgbastion credentials issue TARGET"


def check_proof(
    snapshot: Snapshot, proof: Proof | None, user: User, now: datetime, *, is_live: bool
) -> datetime | Denial | None:
    """Until when it is one; None: for good."""
    match proof:
        case None:
            return None
        case Credential():
            known = snapshot.credentials.get(proof.handle)
            if known is None or known.id != proof.id or known.user_id != user.id:
                return Denial("credential-revoked", "28000", "this short-lived credential was revoked", _ISSUE_AGAIN)
            if known.credential_version != user.credential_version:
                text = f'this short-lived credential ended when the password of user "{user.name}" was changed'
                return Denial("credential-revoked", "28000", text, _ISSUE_AGAIN)
            if now >= (known.sessions_until if is_live else known.valid_until):
                return Denial("credential-expired", "28000", "this short-lived credential has expired", _ISSUE_AGAIN)
            return known.sessions_until
        case ClientCertificate():
            if user.kind is not UserKind.MACHINE or not bears_one_of(proof, user.certificate_names):
                text = f'this client certificate is not one of user "{user.name}" any more'
                return Denial("certificate-revoked", "28000", text, "Ask your administrator.")
            if now >= proof.valid_until:
                return Denial("certificate-expired", "28000", "this client certificate has expired", "Connect with a new one.")
            return proof.valid_until


def out_of_bounds(
    snapshot: Snapshot, credential: Credential, target: Target | None, mode: AccessMode, address: IPv4Address | IPv6Address
) -> Denial | None:
    """What the person may do otherwise, but not with this credential."""
    own = next((each.name for each in snapshot.targets.values() if each.id == credential.target_id), "")
    if target is None or target.id != credential.target_id:
        hint = f"Connect to {own}, or issue one for the other target: pgbastion credentials issue TARGET"
        return Denial("credential-for-other-target", "28000", f'this short-lived credential is for target "{own}" alone', hint)
    if not includes(credential.mode, mode):
        hint = f"Connect to {own}, or issue one that may: pgbastion credentials issue {own} --mode {mode.value}"
        return Denial("credential-mode", "28000", "this short-lived credential only reads", hint)
    if credential.network is not None and address not in credential.network:
        return address_refused("address-not-admitted-for-credential", address, "this short-lived credential")
    return None
