"""Which values are secrets, and that they stay out of a text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import (
    HIDDEN,
    blank_out,
    secret_parts,
    secret_values,
)


def test_only_secrets_are_blanked_out() -> None:
    environment = {
        "NODE_ENV": "production",
        "PORT": 3000,
        "DB_PASSWORD": "hunter22",
        "API_TOKEN": "abc",
        "DATABASE_URL": "postgres://shop:hunter23@db/shop",
        "QUEUE_URL": "amqp://shop:hunt%2Fer24@mq/",
        "HOME_URL": "https://example.com/",
    }
    assert secret_values([environment]) == {
        *("hunter22", "postgres://shop:hunter23@db/shop", "hunter23"),
        *("amqp://shop:hunt%2Fer24@mq/", "hunt%2Fer24", "hunt/er24"),
    }


def test_a_header_is_a_secret_with_its_parts() -> None:
    assert secret_parts(["Bearer abcdef123", "session=s3cr3ts; a=1", "short"]) == {
        *("Bearer abcdef123", "Bearer", "abcdef123"),
        *("session=s3cr3ts; a=1", "session", "s3cr3ts"),
    }


def test_the_longest_is_blanked_out_first() -> None:
    assert blank_out("a-secret-b and a-secret", ["a-secret", "a-secret-b"]) == f"{HIDDEN} and {HIDDEN}"


@given(st.lists(st.text("abc", min_size=1), min_size=1), st.text("abc ", max_size=60))
def test_no_secret_is_left_over(secrets: list[str], text: str) -> None:
    left = blank_out(text, secrets).replace(HIDDEN, " ")
    assert not any(secret in left for secret in secrets)
