"""Ansible's collection finder is installed before any conftest below imports the collection, which it could not join
afterwards."""

from __future__ import annotations

from pathlib import Path

from pytest_ansible.units import acf_inject

acf_inject([str(Path(__file__).resolve().parents[1] / ".dev" / "collections")])
