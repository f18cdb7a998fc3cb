"""Task `residue`: which label does each residue have, and is the network above baselines?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from protemb.apps.config import build, optimizer_of
from protemb.apps.encoders import begin_from_weights, encoder_label, encoder_recipe
from protemb.apps.exporting import export_encoder
from protemb.apps.mirror import mirror_results
from protemb.apps.records import announce, load_split, read_source
from protemb.apps.residue_results import (
    ResidueOutcome,
    print_residue_outcome,
    save_residue_outcome,
)
from protemb.apps.tasks import Fitted
from protemb.errors import ConfigError
from protemb.models.checkpoint import RECIPE_VERSION
from protemb.models.residue_tagger import KIND, build_tagger, load_tagger
from protemb.sequences.residue_set import ResidueSet
from protemb.sequences.residue_source import ResidueSource
from protemb.sequences.thinning import thin
from protemb.sequences.units import resampling_units
from protemb.tagging_scores import Tagging, compare_taggings
from protemb.training.residue_baselines import fit_residue_baselines
from protemb.training.residue_data import ResidueData
from protemb.training.residue_module import ResidueModule
from protemb.vectors.tag import tag_records


class Residues:
    """A label per residue; see `protemb.apps.tasks.Task`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values, self.label = values, _label(values)
        if values["shuffle"] != "none":
            raise ConfigError("shuffle", values["shuffle"], "none: labels belong to places")
        if type(values["task"]["crf"]) is not bool:
            raise ConfigError("task.crf", values["task"]["crf"], "true or false")
        if values["task"]["crf"] and values["task"]["class_weights"] != "none":
            expected = "none with task.crf=true: it weighs whole proteins"
            raise ConfigError("task.class_weights", values["task"]["class_weights"], expected)
        build(values["encoder"]).check_level(values["level"])
        self.data = load_residues(values)
        labelled = self.data.labelled
        seed = values["split"].get("seed", 0)
        split = load_split(values, labelled)
        self.split = thin(labelled, split, values["train_share"], seed=seed)
        self.fingerprints = (self.data.fingerprint, self.split.fingerprint)

    def begin(self, folder: Path) -> None:
        """Write split and audit; say what was read."""
        data, labelled = self.data, self.data.labelled
        letters = data.letter_counts()
        left = int(labelled.store.lengths_N.sum() - data.counted_N.sum())
        shares = ", ".join(f"{letter} {n:,}" for letter, n in letters.items())
        facts, self.split_facts = announce(
            self.values,
            labelled,
            self.split,
            folder,
            f"{len(data.letters)} labels",
            [f"residues by label: {shares}; not counted {left:,}"],
        )
        self.facts = facts | {"residue_labels": letters, "residues_not_counted": left}

    def recipe(self) -> dict[str, Any]:
        """Plain values that rebuild the network and say what its input and labels are."""
        values, data = self.values, self.data
        alphabet = data.labelled.store.alphabet
        return {
            "version": RECIPE_VERSION,
            "kind": KIND,
            "encoder": encoder_recipe(values["encoder"]),
            "level": values["level"],
            "head": {name: values["task"][name] for name in ("hidden", "dropout", "crf")},
            "letters": data.letters,
            "alphabet": alphabet.name,
            "alphabet_fingerprint": alphabet.fingerprint,
            "label": self.label,
            "data": {"name": values["data"]["name"], "fingerprint": data.fingerprint},
        }

    def prepare(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        """The tagger and its batches."""
        values, task, recipe = self.values, self.values["task"], self.recipe()
        batches = ResidueData(
            self.data,
            self.split,
            residues=task["residues"],
            max_records=task["max_records"],
            class_weights=task["class_weights"],
            seed=values["seed"],
        )
        if batches.long_records:
            print(f"{batches.long_records} training proteins exceed task.residues: one batch each")
        tagger = build_tagger(recipe)
        begin_from_weights(tagger.encoder, values["encoder"], values["level"])
        module = ResidueModule(
            tagger,
            recipe,
            optimizer=optimizer_of(values),
            scheduler=build(values["scheduler"]) if values["scheduler"] else None,
            objective=values["objective"],
            seed=values["seed"],
        )
        return module, batches

    def finish(self, folder: Path, fitted: Fitted, loggers: list[Logger]) -> dict[str, Any]:
        """Score the best epoch beside the baselines; write predictions and figures."""
        values, data, split = self.values, self.data, self.split
        device = fitted.trainer.strategy.root_device
        best = load_tagger(folder, device=device)
        predicted = {
            part: tag_records(
                best.model,
                data.labelled.store,
                split.parts[part],
                residues=values["task"]["residues"],
                device=device,
            )
            for part in ("validation", "test")
        }
        baselines: dict[str, np.ndarray] = {}
        if values["baselines"]:
            seed = values["split"].get("seed", 0)
            baselines = fit_residue_baselines(
                data, split, seed=seed, cache_dir=Path(values["paths"]["cache"])
            )
        units_M, unit_facts = resampling_units(
            data.labelled, split, identity=values["unit_identity"]
        )
        codes_T, offsets_M1 = data.flat(split.test)
        tagging = Tagging(codes_T, offsets_M1, data.letters, data.segment_codes, data.mark_codes)
        scores, differences = compare_taggings(
            tagging,
            {self.label: predicted["test"], **baselines},
            units_M,
            replicates=values["replicates"],
        )
        self.outcome = ResidueOutcome(
            values=values,
            data=data,
            split=split,
            tagging=tagging,
            predicted=predicted,
            units_M=units_M,
            scores=scores,
            differences=differences,
            history=fitted.history.rows,
            label=self.label,
        )
        save_residue_outcome(self.outcome, folder)
        tagger = best.model
        export_encoder(
            folder,
            tagger.encoder,
            best.recipe["encoder"],
            data.labelled.store.alphabet,
            level=tagger.level,
            label=self.label,
            data=values["data"]["name"],
            heads={
                name: value
                for name, value in tagger.state_dict().items()
                if not name.startswith("encoder.")
            },
            hints={"letters": data.letters, "crf": tagger.chain is not None},
        )
        mirror_results(loggers, scores[self.label], folder)
        paired = {
            key: {"against": rival, **gap.as_dict()} for key, (rival, gap) in differences.items()
        }
        return {
            "scores": {
                name: {metric: interval.as_dict() for metric, interval in row.items()}
                for name, row in scores.items()
            },
            "difference": paired.get("accuracy"),
            "differences": paired,
            "best_epoch": self.outcome.best_epoch,
            "parameters": sum(p.numel() for p in best.model.parameters()),
            "data": {"name": values["data"]["name"], "fingerprint": data.fingerprint, **self.facts},
            "reading": dict(data.labelled.report),
            "split": self.split_facts,
            "units": unit_facts,
        }

    def show(self, folder: Path) -> None:
        """Print the result table."""
        print_residue_outcome(self.outcome, folder)


def load_residues(values: Mapping[str, Any]) -> ResidueSet:
    """The records and residue labels that the config names.

    Raises:
        ConfigError: the data have no residue labels.
        InputError: a file cannot be used.
    """
    source = build(values["data"]["source"])
    if not isinstance(source, ResidueSource):
        expected = "data with residue labels: tmbed, flip_ss, residues"
        raise ConfigError("data", values["data"]["name"], expected)
    return read_source(values, source.load_residues)


def _label(values: Mapping[str, Any]) -> str:
    """How tables name the network: bilstm, cnn@table, bilstm+64+crf."""
    level = "" if values["level"] == "states" else f"@{values['level']}"
    hidden, crf = values["task"]["hidden"], values["task"]["crf"]
    name = f"{encoder_label(values)}{level}" + ("" if hidden is None else f"+{hidden}")
    return name + ("+crf" if crf else "")
