"""A sweep that tunes: a study for every combination of the outer choices, then the best anew.

The trials' run folders are SWEEP/trials/STUDY/NUMBER, and no trial is scored on the test part. The
best of each study is an ordinary point of the sweep, once for every seed.
"""

import itertools
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, flag_override

from protemb.apps.config import check, plain
from protemb.apps.naming import run_name
from protemb.apps.points import add_points
from protemb.apps.runs import read_result, run_key
from protemb.apps.tuning.outcome import BEST, facts, in_words, told
from protemb.apps.tuning.space import Space, override, read_space
from protemb.apps.tuning.study import Study, Taken
from protemb.errors import ConfigError, InputError, ProtembError
from protemb.files import content_key, write_json

# Seconds between two looks at trials that other processes run.
PAUSE = 1.0


@dataclass(frozen=True)
class Search:
    """A study, and what it is a study of.

    Attributes:
        title: the outer choices that have alternatives, to tell studies apart.
        name: of its folder below `trials`.
        overrides: the outer choices that it belongs to.
        space: what it draws; what the user chose is not in it.
        objective: name of the metric.
        study: its trials.
    """

    title: str
    name: str
    overrides: tuple[str, ...]
    space: Space
    objective: str
    study: Study

    @property
    def outer(self) -> list[str]:
        """The outer choices without the seed, which the best are given anew."""
        return [item for item in self.overrides if not item.startswith("seed=")]


def tune(
    options: Mapping[str, Any],
    config: DictConfig,
    loader: ConfigLoader,
    launcher: Launcher,
    arguments: Sequence[str],
) -> None:
    """Run all trials that are missing, then train the best of every study on every seed.

    Args:
        options: of the sweeper, plain.
        config: Hydra's, of the whole sweep.
        loader: composes the config of a run.
        launcher: runs them.
        arguments: the user's overrides; those with commas are outer choices.
    """
    try:
        _check(options)
        _Tuning(options, config, loader, launcher).run(arguments)
    except ProtembError as error:
        print(f"protemb: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _check(options: Mapping[str, Any]) -> None:
    for name, least in {"trials": 1, "parallel": 1, "startup": 1, "warmup": 0, "seed": 0}.items():
        if options[name] < least:
            expected = f"a whole number from {least} on"
            raise ConfigError(f"hydra.sweeper.{name}", options[name], expected)
    seeds = options["seeds"]
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError("hydra.sweeper.seeds", seeds, "different whole numbers from 0 on")


def outer_choices(overrides: Sequence[Any], space: Space) -> tuple[list[tuple[str, ...]], Space]:
    """Every combination of what the user chose, and what is left to be tuned.

    Args:
        overrides: parsed by Hydra; the last one of a key counts.
        space: what there is to tune.

    Raises:
        ConfigError: nothing is left, or seeds were given as a choice.
    """
    axes: dict[str, list[str]] = {}
    for item in overrides:
        if not item.is_sweep_override():
            axes[item.key_or_group] = [item.input_line]
        elif item.key_or_group == "seed" or not item.is_discrete_sweep():
            expected = "one value, and seeds in hydra.sweeper.seeds"
            raise ConfigError(item.key_or_group, item.get_value_string(), expected)
        else:
            key = item.get_key_element()
            axes[item.key_or_group] = [f"{key}={x}" for x in item.sweep_string_iterator()]
    left = {key: what for key, what in space.items() if key not in axes}
    if not left:
        raise ConfigError("hydra.sweeper.space", ", ".join(space), "an option that was not chosen")
    return list(itertools.product(*axes.values())), left


class _Tuning:
    def __init__(
        self,
        options: Mapping[str, Any],
        config: DictConfig,
        loader: ConfigLoader,
        launcher: Launcher,
    ) -> None:
        self.options, self.config, self.loader = options, config, loader
        self.launcher, self.launched = launcher, 0
        self.folder = Path(config.hydra.sweep.dir).absolute()

    def run(self, arguments: Sequence[str]) -> None:
        parser = OverridesParser.create(config_loader=self.loader)
        given = [f"{key}={value}" for key, value in (self.options["params"] or {}).items()]
        parsed = parser.parse_overrides([*given, *arguments])
        combinations, space = outer_choices(parsed, read_space(self.options["space"]))
        varied = set().union(*combinations) - set(combinations[0]).intersection(*combinations)
        searches = [self._open(combination, varied, space) for combination in combinations]
        if len({search.name for search in searches}) < len(searches):
            expected = "outer choices that change what is computed"
            raise ConfigError("hydra.sweeper", " ".join(arguments), expected)
        self._search(searches)
        for search in searches:
            print("\n".join(told(search.title, search.objective, search.study)), flush=True)
        found = [
            facts(each.study)
            | {"study": each.name, "outer": list(each.overrides), "objective": each.objective}
            for each in searches
        ]
        write_json(self.folder / BEST, {"studies": found})
        self._train_best(searches)

    def _open(self, overrides: tuple[str, ...], varied: Collection[str], space: Space) -> Search:
        """The study of some outer choices, named by all that decides its outcome."""
        # Both ends of everything, so that no trial is refused later.
        values, _ = (
            self._compose(
                [*overrides, *(override(key, what.ends[i]) for key, what in space.items())]
            )
            for i in (0, 1)
        )
        prune = {name: self.options[name] for name in ("startup", "warmup")}
        deciding = {
            "run": run_key(values, "", ""),
            "split": values["split"],
            "space": {key: repr(what) for key, what in space.items()},
            "seed": self.options["seed"],
            "prune": prune if self.options["prune"] else None,
        }
        chosen = [item for item in overrides if item in varied] or ["study"]
        name = f"{run_name(chosen)}-{content_key(deciding)[:8]}"
        study = Study(
            self.folder / "trials" / name,
            space,
            mode=values["objective_mode"],
            seed=self.options["seed"],
            prune=deciding["prune"],
            trials=self.options["trials"],
        )
        return Search(", ".join(chosen), name, overrides, space, values["objective"], study)

    def _compose(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The checked config of a run."""
        cfg = self.loader.load_sweep_config(self.config, list(overrides))
        with flag_override(cfg, ["struct", "readonly"], [False, False]):
            # Hydra says these only inside of a job; none of them decides anything.
            cfg.out_dir, cfg.choices, cfg.overrides, cfg.logger = "", {}, [], None
            del cfg["hydra"]
        values = plain(cfg)
        check(values)
        return values

    def _search(self, searches: Sequence[Search]) -> None:
        """Run trials, of all studies side by side, until none is missing."""
        while True:
            taken = [
                (search, trial)
                for search in searches
                for trial in search.study.take(self.options["parallel"])
            ]
            if taken:
                self._launch([self._trial(search, trial) for search, trial in taken])
                for search, trial in taken:
                    self._tell(search, trial)
            elif any(search.study.busy() for search in searches):
                time.sleep(PAUSE)
            else:
                return

    def _trial(self, search: Search, trial: Taken) -> list[str]:
        place = override("hydra.sweep.subdir", str(trial.folder.relative_to(self.folder)))
        drawn = [override(key, value) for key, value in trial.values.items()]
        return [*search.overrides, *drawn, f"trial={trial.number}", place]

    def _tell(self, search: Search, trial: Taken) -> None:
        outcome = search.study.tell(trial)
        record = read_result(trial.folder) or {}
        number = f" {record['objective']:.4g}" if "objective" in record else ""
        drawn = in_words(trial.values)
        print(f"{search.title}, trial {trial.number}: {outcome}{number} ({drawn})", flush=True)

    def _train_best(self, searches: Sequence[Search]) -> None:
        """The runs that count: scored on the test part, which has chosen nothing so far."""
        points = []
        for search in searches:
            best = search.study.best()
            if best is None:
                continue
            for seed in self.options["seeds"]:
                # Named by the outer choices alone: what a longer search chooses takes the place of
                # what was chosen before.
                place = run_name([*search.outer, f"seed={seed}"])
                chosen = [override(key, value) for key, value in best.values.items()]
                line = [*search.outer, *chosen, f"seed={seed}"]
                points.append((search, place, [*line, f"tuned=[{','.join(search.space)}]"]))
        if points:
            add_points(self.folder, {place: line for _, place, line in points})
            seeds = ", ".join(map(str, self.options["seeds"]))
            print(f"Training the best with seeds {seeds}; only these are tested", flush=True)
            self._launch(
                [[*line, override("hydra.sweep.subdir", place)] for _, place, line in points]
            )
        for search, place, _ in points:
            found = (read_result(self.folder / place) or {}).get("fingerprints")
            if found and found != search.study.fingerprints():
                problem = "tuned on other data or another split; without this folder all are new"
                raise InputError(str(search.study.folder), problem)

    def _launch(self, jobs: Sequence[Sequence[str]]) -> None:
        first, self.launched = self.launched, self.launched + len(jobs)
        for job in self.launcher.launch(jobs, initial_job_idx=first):
            _ = job.return_value  # raises what the job raised
