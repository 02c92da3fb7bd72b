"""References to secrets as text: read as they are written, and never quoted when they are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.secret_reference import SecretProvider, SecretReference


@pytest.mark.parametrize(
    "text",
    [
        "file:/run/secrets/app ro",
        "env:UPSTREAM_SHOP",
        "vault:kv/pgbastion/shop",
        "vault:kv/pgbastion/shop#app_rw",
        "aws-sm:prod/shop#password",
        "aws-sm:arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/shop-AbCdEf#password",
        "gcp-sm:projects/p-1/secrets/shop",
        "gcp-sm:projects/p-1/locations/europe-west3/secrets/shop/versions/7#password",
        "rds-iam:",
        "rds-iam:us-gov-west-1",
    ],
)
def test_it_reads_as_it_is_written(text: str) -> None:
    assert str(SecretReference.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "hunter2:canary",
        "file:relative",
        "file:/a\nb",
        "env:1X",
        "env:A B",
        "vault:kv",
        "vault:kv/../sys/raw",
        "vault:kv//x",
        "vault:/kv/x",
        "vault:kv/x?version=1",
        "vault:kv/x#",
        "vault:kv/x#a#b",
        "aws-sm:",
        "aws-sm:arn:aws:iam::123456789012:role/x",
        "gcp-sm:shop",
        "gcp-sm:projects/p/secrets/shop/versions/1:access",
        "rds-iam:eu",
        "Vault:kv/x",
        "vault:" + "k/" * 600 + "x",
    ],
)
def test_what_is_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="a reference to a secret is") as caught:
        SecretReference.parse(text)
    if len(text) > 3 and ":" not in text:
        assert text not in str(caught.value)
    assert "canary" not in str(caught.value)


@given(st.sampled_from(SecretProvider), st.text(max_size=60))
def test_whatever_is_taken_comes_out_as_it_went_in(provider: SecretProvider, rest: str) -> None:
    text = f"{provider.value}:{rest}"
    try:
        found = SecretReference.parse(text)
    except ValueError:
        return
    assert str(found) == text
    assert SecretReference.parse(str(found)) == found
    assert text.isprintable() or provider is SecretProvider.FILE
