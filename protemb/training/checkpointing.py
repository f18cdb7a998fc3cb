"""How Lightning's checkpoints reach the disk: whole or not at all."""

from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from protemb.files import whole_file


class WholeCheckpointIO(TorchCheckpointIO):
    """Write beside, then rename; Lightning's own way copies between file systems."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Save under `path`; a kill leaves the older file as it was."""
        with whole_file(path) as part:
            torch.save(checkpoint, part)
