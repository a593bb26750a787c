"""The sessions on these pages write where nobody minds."""

import pytest


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    """Run every session in a folder of its own."""
    monkeypatch.chdir(tmp_path)
