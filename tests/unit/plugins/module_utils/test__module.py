"""What of the arguments may be shown."""

from __future__ import annotations

from ansible_collections.zerodown.pm2.plugins.module_utils._module import masked
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import HIDDEN


def test_values_of_an_environment_are_hidden_at_any_depth_and_names_are_kept() -> None:
    parameters = {"name": "a", "env": {"A": "1"}, "apps": [{"env": {"B": 2}, "env_file": None}]}
    assert masked(parameters, ["env", "env_file"]) == {
        "name": "a",
        "env": {"A": HIDDEN},
        "apps": [{"env": {"B": HIDDEN}, "env_file": None}],
    }
    assert parameters["env"] == {"A": "1"}
