"""Fixtures shared by every test."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is not a defect: time limits are the test runner's.
settings.register_profile("protemb", deadline=None)
settings.load_profile("protemb")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets (PROTEMB_DATA); CI must have it, a user need not."""
    folder = os.environ.get("PROTEMB_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder).resolve()
    if os.environ.get("CI"):
        pytest.fail(f"PROTEMB_DATA: got {folder!r}, expected the folder of the real data sets")
    pytest.skip("set PROTEMB_DATA to the folder of the real data sets")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the reference checkpoints (PROTEMB_REFERENCE); CI must have it, a user need not."""
    folder = os.environ.get("PROTEMB_REFERENCE")
    if folder and Path(folder).is_dir():
        return Path(folder).resolve()
    if os.environ.get("CI"):
        pytest.fail(f"PROTEMB_REFERENCE: got {folder!r}, expected the folder of the references")
    pytest.skip("set PROTEMB_REFERENCE to the folder of the references")
