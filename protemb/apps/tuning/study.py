"""A study: trials of one search, shared by every process that runs the same command.

A trial is numbered once and for all. Whoever takes it holds a claim until its outcome is told; when
the claim is free and no outcome is there, its process has died, and the next one that comes goes on
with it, in the same run folder.
"""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protemb.apps.runs import read_result
from protemb.apps.tuning.journal import JOURNAL, NAME, need_optuna, open_journal
from protemb.apps.tuning.space import Categories, Choice, Range, Space
from protemb.claims import HeldElsewhere, claim, holder
from protemb.errors import InputError

# How a trial can end, and what Optuna calls it.
OUTCOMES = {"complete": "COMPLETE", "pruned": "PRUNED", "diverged": "PRUNED", "failed": "FAIL"}
KEPT = ("fingerprints", "epochs", "error")
HOPELESS = 3
"""Failed trials after which a command draws no more, where none has done better."""


@dataclass(frozen=True)
class Taken:
    """A trial that this process has to run.

    Attributes:
        number: in its study, from 0.
        values: what was drawn for it.
        folder: its run's.
    """

    number: int
    values: Mapping[str, Choice]
    folder: Path


@dataclass(frozen=True)
class Best:
    """The best trial that was not stopped; the first of equals."""

    number: int
    objective: float
    values: Mapping[str, Choice]


class Study:
    """One search.

    Args:
        folder: where its journal, its claims and the trials' run folders are.
        space: what it draws from.
        mode: `max` or `min`: which objective is better.
        seed: of the draws; those of a trial hang on its number and on the outcomes before it.
        prune: `startup` and `warmup` of stopping hopeless trials, or None.
        trials: how many there will be, failed ones aside.

    Raises:
        MissingExtra: optuna is not installed.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        *,
        mode: str,
        seed: int,
        prune: Mapping[str, int] | None,
        trials: int,
    ) -> None:
        optuna = need_optuna()
        self.folder, self.space, self.seed, self.trials = folder, space, seed, trials
        try:
            self._storage = open_journal(folder)
            with self._alone():
                if not self._storage.get_all_studies():
                    direction = "maximize" if mode == "max" else "minimize"
                    optuna.create_study(study_name=NAME, storage=self._storage, direction=direction)
                self._study = optuna.load_study(study_name=NAME, storage=self._storage)
                if "prune" not in self._study.user_attrs:
                    self._study.set_user_attr("prune", None if prune is None else dict(prune))
        except ValueError as error:  # the last line may be torn, the others never are
            problem = f"damaged ({error}); without this folder all trials are new"
            raise InputError(str(folder / JOURNAL), problem) from None
        self._id = self._storage.get_study_id_from_name(NAME)
        self._sign = -1 if mode == "max" else 1
        self._held: dict[int, ExitStack] = {}
        # Trials that this command could not bring to an end.
        self._left: set[int] = set()
        self._may_ask = self.missing()
        self._failed = 0

    def take(self, limit: int) -> list[Taken]:
        """Trials to run now: first those that their processes left behind, then new ones.

        A command asks for as many new ones as were missing when it began, and for none after the
        first `HOPELESS` have failed, so that it ends also where all of them fail.

        Args:
            limit: so many at most.
        """
        taken: list[Taken] = []
        with self._alone():
            for trial in self._others():
                if len(taken) < limit and self._adopt(trial.number):
                    taken.append(self._draw(trial.number))
            while len(taken) < limit and self._may_ask > 0 and self._counted() < self.trials:
                self._may_ask -= 1
                number = len(self._all())
                self._study.sampler = _sampler(self.seed, number, 0)
                held = self._hold(number)
                assert held
                assert self._study.ask().number == number
                taken.append(self._draw(number))
        return taken

    def tell(self, trial: Taken) -> str:
        """Read the trial's record, tell the study, let go; return one of OUTCOMES, or `left`.

        Raises:
            InputError: the data, or their split, are not those of the trials before it.
        """
        from optuna.trial import TrialState

        record = read_result(trial.folder) or {}
        outcome, value = outcome_of(record)
        if outcome == "left":
            self._left.add(trial.number)
        else:
            kept = {name: record[name] for name in KEPT if name in record}
            for name, fact in (kept | {"outcome": outcome}).items():
                self._storage.set_trial_user_attr(self._trial_id(trial.number), name, fact)
            self._study.tell(trial.number, value, state=TrialState[OUTCOMES[outcome]])
        self._failed += outcome == "failed"
        if self._failed >= HOPELESS and not self._counted():
            self._may_ask = 0
        self._held.pop(trial.number).close()
        self._check_same_data()
        return outcome

    def busy(self) -> bool:
        """Whether other processes still run trials."""
        return bool(self._others())

    def best(self) -> Best | None:
        """The best of the trials that were trained to their end, if there is one."""
        done = [trial for trial in self._all() if trial.state.name == "COMPLETE"]
        best = min(done, key=lambda trial: (self._sign * _value(trial), trial.number), default=None)
        return None if best is None else Best(best.number, _value(best), best.params)

    def counts(self) -> dict[str, int]:
        """Trials by outcome; those `left` have none yet."""
        found = [trial.user_attrs.get("outcome", "left") for trial in self._all()]
        return {name: found.count(name) for name in (*OUTCOMES, "left")}

    def missing(self) -> int:
        """How many trials there still have to be; one that failed is none."""
        return max(0, self.trials - self._counted())

    def errors(self) -> list[str]:
        """Why trials failed, each reason once."""
        failed = [trial for trial in self._all() if trial.state.name == "FAIL"]
        return list(dict.fromkeys(str(trial.user_attrs.get("error")) for trial in failed))

    def fingerprints(self) -> list[str] | None:
        """Those of the data and the split that the trials were trained on."""
        found = (trial.user_attrs.get("fingerprints") for trial in self._all())
        return next(filter(None, found), None)

    def _alone(self) -> Any:
        return claim(self.folder / ".take.lock", wait=True)

    def _all(self) -> list[Any]:
        return self._study.get_trials(deepcopy=False)

    def _counted(self) -> int:
        return sum(trial.state.name != "FAIL" for trial in self._all())

    def _others(self) -> list[Any]:
        """Running trials that are not this process's."""
        mine = self._held.keys() | self._left
        running = [trial for trial in self._all() if trial.state.name == "RUNNING"]
        return [trial for trial in running if trial.number not in mine]

    def _adopt(self, number: int) -> bool:
        """Hold a trial whose process has died; False where it is at work, or has just ended."""
        # Asking is quicker than trying to take what somebody has.
        if holder(self._claim(number)) or not self._hold(number):
            return False
        # Its outcome is told before its claim ends.
        if self._all()[number].state.name == "RUNNING":
            return True
        self._held.pop(number).close()
        return False

    def _hold(self, number: int) -> bool:
        held = ExitStack()
        try:
            held.enter_context(claim(self._claim(number)))
        except HeldElsewhere:
            return False
        self._held[number] = held
        return True

    def _claim(self, number: int) -> Path:
        return self.folder / "claims" / str(number)

    def _draw(self, number: int) -> Taken:
        """The trial with all of its values: those that are missing are drawn now."""
        from optuna.trial import Trial

        self._study.sampler = _sampler(self.seed, number, 0)
        trial = Trial(self._study, self._trial_id(number))
        assert trial.relative_params is not None  # drawn when it is asked for
        for place, (key, what) in enumerate(self.space.items(), 1):
            self._study.sampler = _sampler(self.seed, number, place)
            _suggest(trial, key, what)
        return Taken(number, trial.params, self.folder / str(number))

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _check_same_data(self) -> None:
        trials = [trial.user_attrs.get("fingerprints") for trial in self._all()]
        if len({tuple(found) for found in trials if found}) > 1:
            problem = "the data or their split have changed since the first trial"
            raise InputError(str(self.folder), f"{problem}; without this folder all are new")


def outcome_of(record: Mapping[str, Any]) -> tuple[str, float | None]:
    """How a trial ended by its run's record, and its objective if it is complete.

    >>> outcome_of({"status": "done", "objective": 0.5})
    ('complete', 0.5)
    >>> outcome_of({"status": "failed", "error": "Diverged: in epoch 3"})
    ('diverged', None)
    >>> outcome_of({"status": "interrupted"})
    ('left', None)
    """
    status = record.get("status")
    if status == "done":
        return "complete", float(record["objective"])
    if status == "pruned":
        return "pruned", None
    if status == "failed":
        diverged = str(record.get("error")).startswith("Diverged:")
        return ("diverged" if diverged else "failed"), None
    return "left", None


def _sampler(seed: int, number: int, place: int) -> Any:
    """A sampler whose draws hang on its arguments, in whatever process and after whatever kill."""
    import numpy as np
    from optuna.samplers import TPESampler

    state = np.random.SeedSequence([seed, number, place]).generate_state(1)
    return TPESampler(seed=int(state[0]))


def _suggest(trial: Any, key: str, what: Range | Categories) -> None:
    if isinstance(what, Categories):
        trial.suggest_categorical(key, what.values)
    elif what.whole:
        low, high, step = int(what.low), int(what.high), int(what.step or 1)
        trial.suggest_int(key, low, high, step=step, log=what.log)
    else:
        trial.suggest_float(key, what.low, what.high, step=what.step, log=what.log)


def _value(trial: Any) -> float:
    return math.nan if trial.value is None else trial.value
