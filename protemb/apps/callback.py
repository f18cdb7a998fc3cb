"""Hydra's callback around a sweep; light, because Hydra loads it for every command."""

import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from protemb.apps.starting import leave_errors_alone, machine_errors
from protemb.errors import ProtembError


class SweepSummary(Callback):
    """Name a sweep's points before the first one, and summarise their folders after the last.

    Args:
        report: compare and explain the runs as well; the verdict comes last.
    """

    def __init__(self, report: bool = False) -> None:
        self.report = report

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """From here on errors are the job's, not those of its options."""
        leave_errors_alone()

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Write the points' names into the sweep's folder."""
        leave_errors_alone()
        from protemb.apps.points import add_points, expand

        with machine_errors():  # Hydra would make a warning of them
            add_points(Path(config.hydra.sweep.dir), expand(config))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write the summary and print it; exit code 1 if a point failed."""
        from protemb.apps.sweep import finish_sweep

        try:
            well = finish_sweep(Path(config.hydra.sweep.dir), self.report)
        except (OSError, ProtembError) as error:
            print(f"protemb: {error}", file=sys.stderr)
            sys.exit(2)
        except Exception:  # Hydra would make a warning of it, and end well
            traceback.print_exc()
            sys.exit(1)
        if not well:
            sys.exit(1)
