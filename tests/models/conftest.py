"""The reference checkpoints of the pretrained families."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the reference checkpoints (PROTEMB_REFERENCE); CI must have it, a user need not."""
    folder = os.environ.get("PROTEMB_REFERENCE")
    if folder and Path(folder).is_dir():
        return Path(folder).resolve()
    if os.environ.get("CI"):
        pytest.fail(f"PROTEMB_REFERENCE: got {folder!r}, expected the folder of the references")
    pytest.skip("set PROTEMB_REFERENCE to the folder of the references")
