"""Ansible's collection finder is installed before any conftest below imports the collection, which it could not join
afterwards. What the helpers of the tests assert is told as it is for the tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_ansible.units import acf_inject

pytest.register_assert_rewrite("support")
acf_inject([str(Path(__file__).resolve().parents[1] / ".dev" / "collections")])
