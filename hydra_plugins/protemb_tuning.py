"""Hydra looks for sweepers in this package alone; what this one does is in protemb.apps.tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import MISSING, DictConfig, OmegaConf


@dataclass
class TuningConf:
    """Options of the sweeper; conf/sweep/*_tpe.yaml says what they do."""

    _target_: str = "hydra_plugins.protemb_tuning.TuningSweeper"
    space: dict[str, Any] = MISSING
    trials: int = 30
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    prune: bool = True
    startup: int = 5
    warmup: int = 3
    parallel: int = 1
    seed: int = 0
    params: dict[str, Any] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="protemb_tuning", node=TuningConf, provider="protemb"
)


class TuningSweeper(Sweeper):
    """Tune by a current Optuna, nested in whatever else is swept.

    Hydra's own plugin needs Optuna 2 before Hydra 1.4, and with any version it neither prunes, nor
    goes on after a kill, nor trains the best anew.
    """

    def __init__(self, **options: Any) -> None:
        self.options: Mapping[str, Any] = {
            name: OmegaConf.to_container(value, resolve=True)
            if OmegaConf.is_config(value)
            else value
            for name, value in options.items()
        }

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives before the sweep."""
        self.given = config, hydra_context.config_loader
        self.jobs: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: Sequence[str]) -> None:
        """Tune, then train the best."""
        from protemb.apps.tuning.sweep import tune

        tune(self.options, *self.given, self.jobs, arguments)
