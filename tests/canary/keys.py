"""Keys as canaries: what of a key file is secret, in whatever form it may turn up."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tests.canary.canaries import Canaries

MASTER_KEY = "master key"


def note_private_key(canaries: Canaries, slot: str, pem: bytes) -> None:
    """Its numbers, and each line of its file that holds some of them: the public key stands there, too, and in certificates."""
    key = load_pem_private_key(pem, None)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(key, EllipticCurvePrivateKey):
        number = key.private_numbers().private_value
        canaries.note(slot, number.to_bytes((key.key_size + 7) // 8, "big"))
    elif isinstance(key, RSAPrivateKey):
        for number in (key.private_numbers().p, key.private_numbers().q, key.private_numbers().d):
            canaries.note(slot, number.to_bytes((number.bit_length() + 7) // 8, "big"))
    body = [line for line in pem.decode().splitlines() if line and not line.startswith("-")]
    for line in body[1:]:  # the first one begins as that of every key does
        if len(line) >= 32 and base64.b64decode(line) not in public:
            canaries.note(slot, line)


def note_master_key(canaries: Canaries, file: Path) -> None:
    for line in file.read_text().split():
        raw = base64.b64decode(line.split(":")[3])
        assert len(raw) == 32
        canaries.note(MASTER_KEY, raw)
