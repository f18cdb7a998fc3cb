"""Task `similarity`: how alike are two structures, by SCOP's hierarchy?"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from protemb.apps.config import build, optimizer_of
from protemb.apps.encoders import encoder_label
from protemb.apps.exporting import export_encoder
from protemb.apps.mirror import mirror_results
from protemb.apps.records import announce, load_data, load_split
from protemb.apps.similarity_results import PairOutcome, print_pairs, save_pairs
from protemb.apps.tasks import Fitted
from protemb.errors import ConfigError
from protemb.files import hash_file
from protemb.models.encoders.base import Encoder
from protemb.models.pair_scorer import PairScorer, Projected
from protemb.models.pretrained.states import ResidueStates
from protemb.models.tuning import TunedEncoder
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.pairs import Pairs, PairSampler, hierarchy, read_pairs
from protemb.sequences.partition import Split
from protemb.sequences.shuffles import shuffled_set
from protemb.sequences.splits import field_of
from protemb.sequences.thinning import thin
from protemb.sequences.tokens import TokenStore
from protemb.training.pair_baselines import make_aligner, pair_baselines
from protemb.training.pairs import PairData
from protemb.training.similarity import SimilarityModule

PREFIX = "scorer."
"""Of the network's weights inside a training checkpoint."""
START = "before training"
COUNTS = ("pairs_per_epoch", "pairs_per_batch", "validation_pairs", "test_pairs", "cells")


class SimilarityTask:
    """Pairs of proteins and the level of a hierarchy that they share; see `apps.tasks.Task`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        task = values["task"]
        for name in (*COUNTS, *(["out_dim"] if task["out_dim"] is not None else [])):
            if type(task[name]) is not int or task[name] < 1:
                raise ConfigError(f"task.{name}", task[name], "a whole number from 1 on")
        for name, most in (("tau", 1), ("resample", 0.999)):
            if not (isinstance(task[name], float | int) and 0 <= task[name] <= most):
                expected = "from 0 to 1" if name == "tau" else "a share from 0 to below 1"
                raise ConfigError(f"task.{name}", task[name], expected)
        if task["alignment"]:
            make_aligner()  # what is missing is said before training, not after it
        for name, kind, expected in (
            ("alignment", bool, "true or false"),
            ("levels", list, "a list of fields"),
        ):
            if type(task[name]) is not kind:
                raise ConfigError(f"task.{name}", task[name], expected)
        self.values, self.names = values, list(task["levels"])
        level = "projection" if task["out_dim"] else task["level"]
        self.label = f"{encoder_label(values)}@{level}/{task['method']}"
        data = load_data(values)
        self.seed = values["split"].get("seed", 0)
        split = thin(data, load_split(values, data), values["train_share"], seed=self.seed)
        self.ready: Pairs | None = None
        if task["pairs_file"] is not None:
            self.ready = read_pairs(task["pairs_file"], data.store)
            # The same sequences under other ids as well.
            held = data.sequences_N[self.ready.records_P2.ravel()]
            records = np.flatnonzero(np.isin(data.sequences_N, held))
            split = without_records(split, records, hash_file(task["pairs_file"]))
        if values["shuffle"] != "none":
            data = shuffled_set(data, values["shuffle"], self.seed)
        self.data, self.split = data, split
        self.codes_NK = hierarchy(data, self.names)
        if task["unit"] not in data.fields:
            raise ConfigError("task.unit", task["unit"], f"one of {', '.join(data.fields)}")
        _, self.units_N = np.unique(field_of(data, task["unit"]), return_inverse=True)
        self.samplers = {
            part: PairSampler(self.codes_NK, data.sequences_N, records)
            for part, records in split.parts.items()
        }
        self.pairs = {
            part: self.samplers[part].fixed(task[f"{part}_pairs"], task["tau"], seed=self.seed)
            for part in ("validation", "test")
        }
        self.samplers["train"].shares(task["tau"])
        encoder = self.network().encoder  # an option that cannot work is refused here
        encoder = encoder.encoder if isinstance(encoder, Projected) else encoder
        weights = encoder.sha256 if isinstance(encoder, TunedEncoder) else ""
        self.fingerprints = (data.fingerprint + weights, split.fingerprint)

    def network(self) -> PairScorer:
        """The network, its weights drawn by the run's seed."""
        pl.seed_everything(self.values["seed"], verbose=False)
        task, level = self.values["task"], self.values["task"]["level"]
        encoder: Encoder = build(self.values["encoder"])
        if level not in encoder.levels:
            raise ConfigError("task.level", level, f"one of {', '.join(encoder.levels)}")
        if isinstance(encoder, TunedEncoder):
            encoder.check_trains(level)
        letters = self.data.store.alphabet.size
        if encoder.alphabet_size != letters:
            raise ConfigError("encoder", f"{encoder.alphabet_size} letters", f"{letters} letters")
        if task["out_dim"] is not None:
            encoder, level = Projected(encoder, level, task["out_dim"]), "projection"
        options = {name: task[name] for name in ("method", "norm", "residues", "cells")}
        return PairScorer(encoder, level, len(self.names), **options)

    def begin(self, folder: Path) -> None:
        """Write split and audit; say what was read, and how many pairs there are."""
        data, split = self.data, self.split
        self.facts, self.split_facts = announce(
            self.values, data, split, folder, f"{len(np.unique(self.units_N))} groups"
        )
        for part, counts in self.pair_facts().items():
            told = ", ".join(f"{n:,} {level}" for level, n in counts.items())
            print(f"pairs by what they share, {part}: {told}")

    def pair_facts(self) -> dict[str, dict[str, int]]:
        """Number of pairs by level: those that training draws from, and those that are scored."""
        names = ["nothing", *self.names]
        counts = {"train": self.samplers["train"].totals}
        for part, pairs in self.pairs.items():
            counts[part] = np.bincount(pairs.levels_P, minlength=len(names))
        return {part: dict(zip(names, n.tolist(), strict=True)) for part, n in counts.items()}

    def prepare(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        """The scorer and its pairs."""
        values, task = self.values, self.values["task"]
        batches = PairData(
            self.data.store,
            self.samplers["train"],
            self.pairs["validation"],
            pairs_per_epoch=task["pairs_per_epoch"],
            pairs_per_batch=task["pairs_per_batch"],
            tau=task["tau"],
            seed=values["seed"],
        )
        module = SimilarityModule(
            self.network(),
            optimizer=optimizer_of(values),
            scheduler=build(values["scheduler"]) if values["scheduler"] else None,
            objective=values["objective"],
            resample=task["resample"],
            seed=values["seed"],
        )
        return module, batches

    def finish(self, folder: Path, fitted: Fitted, loggers: list[Logger]) -> dict[str, Any]:
        """Score the best epoch beside the baselines; write predictions and the encoder."""
        values, device = self.values, fitted.trainer.strategy.root_device
        best = self._best(folder)
        networks = {self.label: best.eval().to(device)}
        if values["baselines"]:
            networks[START] = self.network().eval().to(device)
        scored = {"test": self._score(self.pairs["test"], networks)}
        if self.ready is not None:
            scored["ready"] = self._score(self.ready, networks)
        self.outcome = PairOutcome(
            values=values,
            names=self.names,
            label=self.label,
            store=self.data.store,
            units_N=self.units_N,
            pairs={"test": self.pairs["test"]} | ({"ready": self.ready} if self.ready else {}),
            scores=scored,
            similarity=best.similarity(),
            history=fitted.history.rows,
        )
        self._export(best, folder)
        facts = save_pairs(self.outcome, folder)
        mirror_results(loggers, self.outcome.intervals["test"][self.label], folder)
        return facts | {
            "parameters": sum(p.numel() for p in best.parameters()),
            "data": {"name": values["data"]["name"], "fingerprint": self.data.fingerprint},
            "audit": self.facts,
            "reading": dict(self.data.report),
            "split": self.split_facts,
            "pairs": self.pair_facts(),
            "seen_in_training": seen_shares(self.codes_NK, self.split, self.names),
            "level_bias": {"theta": best.theta.tolist(), "beta": best.beta.tolist()},
        }

    def _best(self, folder: Path) -> PairScorer:
        path = folder / "checkpoints" / "best.ckpt"
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        scorer = self.network()
        scorer.load_state_dict({n.removeprefix(PREFIX): x for n, x in state.items()})
        return scorer

    def _score(self, pairs: Pairs, networks: Mapping[str, PairScorer]) -> dict[str, np.ndarray]:
        """Scores_P of some pairs by each network and each baseline."""
        data, task = self.data, self.values["task"]
        records, rows_P = np.unique(pairs.records_P2, return_inverse=True)
        store = chosen_records(data, records)
        found = {}
        for name, scorer in networks.items():
            states = ResidueStates.of(
                scorer.encoder, store, scorer.level, residues=task["residues"]
            )
            similarity = scorer.similarity()
            found[name] = similarity.score_pairs(states, states, rows_P.reshape(-1, 2))
        if self.values["baselines"]:
            found |= pair_baselines(data.store, pairs.records_P2, alignment=task["alignment"])
        return found

    def _export(self, best: PairScorer, folder: Path) -> None:
        """Write RUN/model, with which `embed` and `similarity` go on."""
        values, task = self.values, self.values["task"]
        encoder, heads, hints = best.encoder, {}, {}
        if isinstance(encoder, Projected):
            encoder = encoder.encoder
        else:
            heads = {"theta": best.theta, "beta": best.beta}
            hints = {"align_method": task["method"], "norm": task["norm"], "level": task["level"]}
        export_encoder(
            folder,
            encoder,
            values["encoder"],
            self.data.store.alphabet,
            level=task["level"],
            label=self.label,
            data=values["data"]["name"],
            heads=heads,
            hints=hints,
        )

    def show(self, folder: Path) -> None:
        """Print the result tables."""
        print_pairs(self.outcome, folder)


def without_records(split: Split, records: np.ndarray, name: str) -> Split:
    """Take records out of the parts that train and choose; `name` says who asked for it."""
    train, validation = (np.setdiff1d(part, records) for part in (split.train, split.validation))
    left = len(split.train) + len(split.validation) - len(train) - len(validation)
    parameters = {**split.parameters, "pairs_file": name, "left_out_for_pairs": left}
    return replace(split, train=train, validation=validation, parameters=parameters)


def chosen_records(data: LabelledSet, records: np.ndarray) -> TokenStore:
    """A store in memory of some records."""
    store = data.store
    named = ((store.id(record), store.sequence(record)) for record in records.tolist())
    return TokenStore.from_sequences(named, store.alphabet)


def seen_shares(codes_NK: np.ndarray, split: Split, names: list[str]) -> dict[str, float]:
    """Share of the test records whose class, fold, ... has records in training too."""
    return {
        name: round(float(np.isin(codes_NK[split.test, k], codes_NK[split.train, k]).mean()), 4)
        for k, name in enumerate(names)
    }
