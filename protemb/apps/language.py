"""Tasks `lm` and `masked_lm`: an encoder learns from sequences alone, and is kept as a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from protemb.apps.config import build, optimizer_of
from protemb.apps.encoders import encoder_label, encoder_recipe
from protemb.apps.exporting import export_encoder
from protemb.apps.language_results import (
    LanguageOutcome,
    print_outcome,
    save_outcome,
)
from protemb.apps.mirror import mirror_results
from protemb.apps.records import announce, load_any, load_split
from protemb.apps.tasks import Fitted
from protemb.errors import ConfigError
from protemb.models.checkpoint import RECIPE_VERSION
from protemb.models.encoders import Encoder
from protemb.models.language import MaskedResidue, NextResidue, ResiduePredictor
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.sequences.shuffles import STANDARD, shuffled_set
from protemb.sequences.thinning import thin
from protemb.sequences.units import resampling_units
from protemb.training.language import LanguageModule, read_weights, score_records
from protemb.training.language_baselines import baseline_tables, score_baselines
from protemb.training.language_data import LanguageData
from protemb.training.language_scores import RecordSums, cross_entropy_gain, language_scores


class LanguageTask:
    """Residues predicted from other residues; see `protemb.apps.tasks.Task`.

    Labels, where the data have some, only help to divide the records evenly.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        masked = values["task"].get("masked")
        whole = values["task"]["kind"] == "lm"
        if not whole and not (type(masked) in (int, float) and 0 < masked <= 1):
            raise ConfigError("task.masked", masked, "a share above 0, at most 1")
        encoder = encoder_label(values)
        # What cannot be trained is refused before the data are read.
        self.level = self.network().level
        usual = values["task"]["kind"] == "lm" or self.level == "states"
        self.label = encoder if usual else f"{encoder}@{self.level}"
        data = load_any(values)
        seed = values["split"].get("seed", 0)
        self.split = thin(data, load_split(values, data), values["train_share"], seed=seed)
        if values["shuffle"] != "none":
            data = shuffled_set(data, values["shuffle"], seed)
        _check_letters(data, self.split)
        self.data = data
        self.fingerprints = (data.fingerprint, self.split.fingerprint)

    def network(self) -> ResiduePredictor:
        """The untrained network.

        Raises:
            ConfigError: the encoder is none, or not one for this task.
        """
        values = self.values
        name = values["encoder"]["_target_"]
        try:
            encoder = build(values["encoder"])
        except TypeError as error:
            raise ConfigError("encoder", name, f"options that it has ({error})") from error
        if not isinstance(encoder, Encoder):
            raise ConfigError("encoder", name, "an encoder")
        if encoder.alphabet_size != STANDARD + 1:
            raise ConfigError("encoder.alphabet_size", encoder.alphabet_size, str(STANDARD + 1))
        if values["task"]["kind"] == "masked_lm":
            return MaskedResidue(encoder, values["level"])
        if values["level"] not in ("states", "lm"):  # "states" is what every config begins with
            raise ConfigError("level", values["level"], "lm (or nothing) for task=lm")
        return NextResidue(encoder)

    def begin(self, folder: Path) -> None:
        """Write split and audit; say what was read."""
        data, split = self.data, self.split
        residues = int(data.store.lengths_N[split.train].sum())
        self.facts, self.split_facts = announce(
            self.values, data, split, folder, f"{residues:,} residues to train on"
        )

    def recipe(self) -> dict[str, Any]:
        """Plain values that rebuild the network and say what it was trained on."""
        values, data = self.values, self.data
        return {
            "version": RECIPE_VERSION,
            "task": values["task"]["kind"],
            "encoder": encoder_recipe(values["encoder"]),
            "level": self.level,
            "alphabet": data.store.alphabet.name,
            "alphabet_fingerprint": data.store.alphabet.fingerprint,
            "label": self.label,
            "data": {"name": values["data"]["name"], "fingerprint": data.fingerprint},
        }

    def batches(self) -> LanguageData:
        """The records as batches."""
        task = self.values["task"]
        return LanguageData(
            self.data,
            self.split,
            masked=task.get("masked"),
            residues=task["residues"],
            max_records=task["max_records"],
            seed=self.values["seed"],
        )

    def prepare(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        """The network and its batches."""
        values = self.values
        module = LanguageModule(
            self.network(),
            self.recipe(),
            optimizer=optimizer_of(values),
            scheduler=build(values["scheduler"]) if values["scheduler"] else None,
            objective=values["objective"],
            seed=values["seed"],
        )
        return module, self.batches()

    def finish(self, folder: Path, fitted: Fitted, loggers: list[Logger]) -> dict[str, Any]:
        """Score the best epoch beside counting, keep its encoder as a model."""
        values, data, split = self.values, self.data, self.split
        checkpoint = folder / "checkpoints" / "best.ckpt"
        network, device = self.network(), fitted.trainer.strategy.root_device
        network.load_state_dict(read_weights(checkpoint))
        network.to(device)
        batches = self.batches()
        parts = {
            part: {self.label: score_records(network, batches, split.parts[part], device)}
            | self._baselines(batches, split.parts[part])
            for part in ("validation", "test")
        }
        units_M, unit_facts = resampling_units(data, split, identity=values["unit_identity"])
        rows, replicates = parts["test"], values["replicates"]
        scores = {
            name: language_scores(sums, units_M, replicates=replicates)
            for name, sums in rows.items()
        }
        others = [name for name in rows if name != self.label]
        rival = min(others, key=lambda name: rows[name].cross_entropy) if others else ""
        gain = None
        if rival:
            gain = cross_entropy_gain(rows[self.label], rows[rival], units_M, replicates=replicates)
        self.outcome = LanguageOutcome(
            values=values,
            data=data,
            split=split,
            parts=parts,
            units_M=units_M,
            scores=scores,
            history=fitted.history.rows,
            label=self.label,
            rival=rival,
            gain=gain,
        )
        save_outcome(self.outcome, folder)
        export_encoder(
            folder,
            network.encoder,
            values["encoder"],
            data.store.alphabet,
            level=self.level,
            label=self.label,
            data=values["data"]["name"],
            heads=network.head(),
        )
        mirror_results(loggers, scores[self.label], folder)
        return {
            "scores": {
                name: {metric: interval.as_dict() for metric, interval in row.items()}
                for name, row in scores.items()
            },
            "difference": {"against": rival, "metric": "cross_entropy", **gain.as_dict()}
            if gain
            else None,
            "best_epoch": self.outcome.best_epoch,
            "parameters": sum(p.numel() for p in network.parameters()),
            "data": {"name": values["data"]["name"], "fingerprint": data.fingerprint, **self.facts},
            "reading": dict(data.report),
            "split": self.split_facts,
            "units": unit_facts,
        }

    def _baselines(self, batches: LanguageData, records_M: np.ndarray) -> dict[str, RecordSums]:
        if not self.values["baselines"]:
            return {}
        store = self.data.store
        tables = baseline_tables(store, self.split.train)
        return score_baselines(
            tables, lambda record: batches.example(record, None), records_M, store.alphabet.size + 1
        )

    def show(self, folder: Path) -> None:
        """Print the result table."""
        print_outcome(self.outcome, folder)


def _check_letters(data: LabelledSet, split: Split) -> None:
    """Every part must have a residue that can be predicted."""
    for part, records in split.parts.items():
        if not any((data.store.tokens(record) < STANDARD).any() for record in records):
            expected = f"a residue that is not unknown in the {part} part"
            raise ConfigError("data", "X alone", expected)
