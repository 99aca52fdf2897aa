"""What of the arguments may be shown."""

from __future__ import annotations

from ansible_collections.zerodown.pm2.plugins.module_utils._module import HIDDEN, masked, secret_values


def test_values_of_an_environment_are_hidden_at_any_depth_and_names_are_kept() -> None:
    parameters = {"name": "a", "env": {"A": "1"}, "apps": [{"env": {"B": 2}, "env_file": None}]}
    assert masked(parameters, ["env", "env_file"]) == {
        "name": "a",
        "env": {"A": HIDDEN},
        "apps": [{"env": {"B": HIDDEN}, "env_file": None}],
    }
    assert parameters["env"] == {"A": "1"}


def test_only_secrets_are_blanked_out() -> None:
    environment = {
        "NODE_ENV": "production",
        "PORT": 3000,
        "DB_PASSWORD": "hunter22",
        "API_TOKEN": "abc",
        "DATABASE_URL": "postgres://shop:hunter23@db/shop",
        "HOME_URL": "https://example.com/",
    }
    assert secret_values([environment]) == {"hunter22", "postgres://shop:hunter23@db/shop"}
