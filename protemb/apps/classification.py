"""Task `classification`: which label does a protein have, and is the network above baselines?"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from protemb.apps.config import build, optimizer_of
from protemb.apps.encoders import begin_from_weights, encoder_label, encoder_recipe
from protemb.apps.mirror import mirror_results
from protemb.apps.records import announce, load_data, load_split
from protemb.apps.results import Outcome, print_outcome, save_outcome
from protemb.apps.tasks import Fitted
from protemb.errors import ConfigError
from protemb.intervals import Interval
from protemb.models.checkpoint import RECIPE_VERSION, build_classifier, load_classifier
from protemb.scores import classification_scores, score_difference
from protemb.sequences.shuffles import shuffled_set
from protemb.sequences.thinning import thin
from protemb.sequences.units import resampling_units
from protemb.training.data import SequenceData
from protemb.training.module import ClassifierModule
from protemb.vectors.embed import predict_records


class Classification:
    """One label per protein; see `protemb.apps.tasks.Task`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values, self.label = values, _label(values)
        data = load_data(values)
        if len(data.label_names) < 2:
            raise ConfigError("data", values["data"]["name"], "data with labels")
        seed = values["split"].get("seed", 0)
        self.split = thin(data, load_split(values, data), values["train_share"], seed=seed)
        if values["shuffle"] != "none":
            data = shuffled_set(data, values["shuffle"], seed)
        self.data = data
        self.fingerprints = (data.fingerprint, self.split.fingerprint)

    def begin(self, folder: Path) -> None:
        """Write split and audit; say what was read."""
        data, split = self.data, self.split
        self.facts, self.split_facts = announce(
            self.values, data, split, folder, f"{len(data.label_names)} labels"
        )

    def recipe(self) -> dict[str, Any]:
        """Plain values that rebuild the network and say what its input and classes are."""
        values, data = self.values, self.data
        return {
            "version": RECIPE_VERSION,
            "encoder": encoder_recipe(values["encoder"]),
            "pooling": values["pooling"],
            "level": values["level"],
            "head": {
                **{name: values["task"][name] for name in ("hidden", "dropout")},
                **({"standardise": True} if values["encoder"].get("tune") == "head" else {}),
            },
            "labels": list(data.label_names),
            "alphabet": data.store.alphabet.name,
            "alphabet_fingerprint": data.store.alphabet.fingerprint,
            "label": self.label,
            "data": {"name": values["data"]["name"], "fingerprint": data.fingerprint},
        }

    def prepare(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        """The classifier and its labelled batches."""
        values, task = self.values, self.values["task"]
        recipe = self.recipe()
        classifier = build_classifier(recipe)
        for name in set(values["vectors"] or ()) - {"own"}:
            classifier.embedder.encoder.check_level(name.partition("/")[0])
        begin_from_weights(classifier.embedder.encoder, values["encoder"], values["level"])
        batches = SequenceData(
            self.data,
            self.split,
            residues=task["residues"],
            max_records=task["max_records"],
            class_weights=task["class_weights"],
            seed=values["seed"],
            positions=classifier.embedder.pooling.needs_positions,
        )
        if batches.long_records:
            print(f"{batches.long_records} training records exceed task.residues: one batch each")
        module = ClassifierModule(
            classifier,
            recipe,
            optimizer=optimizer_of(values),
            scheduler=build(values["scheduler"]) if values["scheduler"] else None,
            objective=values["objective"],
            label_smoothing=task["label_smoothing"],
            seed=values["seed"],
        )
        return module, batches

    def finish(self, folder: Path, fitted: Fitted, loggers: list[Logger]) -> dict[str, Any]:
        """Score the best epoch beside the baselines; write predictions, vectors, figures."""
        values, data, split = self.values, self.data, self.split
        best = load_classifier(folder, device=fitted.trainer.strategy.root_device)
        parts = self._predict(best.model, fitted.trainer.strategy.root_device)
        baselines: dict[str, np.ndarray] = {}
        if values["baselines"]:
            # Here, because scikit-learn takes half a second to load and training needs none of it.
            from protemb.training.baselines import fit_baselines

            cache = Path(values["paths"]["cache"])
            seed = values["split"].get("seed", 0)
            baselines = fit_baselines(data, split, seed=seed, cache_dir=cache)
        rows = {self.label: parts["test"], **baselines}
        units_M, unit_facts = resampling_units(data, split, identity=values["unit_identity"])
        scores = {
            name: classification_scores(
                data.labels_N[split.test],
                probabilities_NC,
                units_M,
                data.label_names,
                replicates=values["replicates"],
            )
            for name, probabilities_NC in rows.items()
        }
        rival, difference = _against_best_baseline(
            data.labels_N[split.test], units_M, data.label_names, rows, scores, values["replicates"]
        )
        self.outcome = Outcome(
            values=values,
            data=data,
            split=split,
            model=best,
            probabilities=parts,
            baselines=baselines,
            units_M=units_M,
            scores=scores,
            history=fitted.history.rows,
            label=self.label,
            rival=rival,
            difference=difference,
        )
        save_outcome(self.outcome, folder)
        mirror_results(loggers, scores[self.label], folder)
        return {
            "scores": {
                name: {metric: interval.as_dict() for metric, interval in row.items()}
                for name, row in scores.items()
            },
            "difference": {"against": rival, **difference.as_dict()} if difference else None,
            "best_epoch": self.outcome.best_epoch,
            "parameters": sum(p.numel() for p in best.model.parameters()),
            "data": {"name": values["data"]["name"], "fingerprint": data.fingerprint, **self.facts},
            "reading": dict(data.report),
            "split": self.split_facts,
            "units": unit_facts,
        }

    def _predict(self, model: Any, device: Any) -> dict[str, np.ndarray]:
        """Class probabilities of the validation and test parts."""
        data = self.data
        positions_N = data.fields.get("position")
        if not model.embedder.pooling.needs_positions:
            positions_N = None
        predict = partial(
            predict_records,
            model,
            data.store,
            residues=self.values["task"]["residues"],
            device=device,
        )
        return {
            name: predict(
                records, positions_M=None if positions_N is None else positions_N[records]
            )
            for name, records in self.split.parts.items()
            if name != "train"
        }

    def show(self, folder: Path) -> None:
        """Print the result table."""
        print_outcome(self.outcome, folder)


def _label(values: Mapping[str, Any]) -> str:
    """How tables name the network: bilstm/mean, embedding/mean+64, lstm@table/mean."""
    level = "" if values["level"] == "states" else f"@{values['level']}"
    hidden = values["task"]["hidden"]
    name = f"{encoder_label(values)}{level}/{values['choices']['pooling']}"
    return name + ("" if hidden is None else f"+{hidden}")


def _against_best_baseline(
    labels_M: np.ndarray,
    units_M: np.ndarray,
    names: Sequence[str],
    rows: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, Interval]],
    replicates: int,
) -> tuple[str, Interval | None]:
    """The baseline with the best balanced accuracy, and how much the network is above it."""
    own, *others = rows
    if not others:
        return "", None
    rival = max(others, key=lambda name: scores[name]["balanced_accuracy"].value)
    difference = score_difference(
        labels_M, rows[own], rows[rival], units_M, names, replicates=replicates
    )
    return rival, difference
