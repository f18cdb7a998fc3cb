"""What a trained encoder leaves in its run: RUN/model, which every command reads."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from protemb.files import hash_file
from protemb.models.encoders import Encoder
from protemb.models.loading import MODEL
from protemb.models.pretrained.saving import save_pretrained
from protemb.models.tuning import TunedEncoder
from protemb.sequences.alphabet import ALPHABETS, Alphabet


def export_encoder(
    run: Path,
    encoder: Encoder,
    node: Mapping[str, Any],
    alphabet: Alphabet,
    *,
    level: str,
    label: str,
    data: str,
    heads: Mapping[str, Tensor] | None = None,
    hints: Mapping[str, object] | None = None,
) -> None:
    """Write RUN/model from the best checkpoint's encoder.

    Args:
        run: the run's folder.
        encoder: as trained.
        node: plain values that build it.
        alphabet: letters of the data.
        level: what it embeds with when nothing else is asked for.
        label: the network's name.
        data: the data set's name.
        heads: tensors behind the encoder.
        hints: plain facts on how these are used.
    """
    if isinstance(encoder, TunedEncoder):
        # What was tuned, not what fitted it to our letters.
        node, alphabet = encoder.node["encoder"], ALPHABETS[str(encoder.node["alphabet"])]
        encoder = encoder.encoder
    # A run that died after this and goes on writes it anew, from the checkpoint of now.
    shutil.rmtree(run / MODEL, ignore_errors=True)
    save_pretrained(
        run / MODEL,
        node,
        encoder,
        alphabet,
        level=level,
        source={
            "name": label,
            "data": data,
            "sha256": hash_file(run / "checkpoints" / "best.ckpt"),
        },
        heads=heads,
        hints=hints,
    )
