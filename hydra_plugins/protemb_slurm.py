"""Hydra looks for launchers here alone; what this one does is in protemb.apps.launching."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn

try:
    from hydra_plugins.hydra_submitit_launcher import submitit_launcher
except ImportError:
    pass  # without the extra `slurm` there is no such launcher
else:

    class SlurmLauncher(submitit_launcher.SlurmLauncher):
        """A job array whose lost jobs are recorded instead of raised; done points are left out."""

        def __call__(self, *args: Any, **options: Any) -> JobReturn:
            """Run one point, in its job; train.py is not imported there."""
            from protemb.apps.naming import register_resolvers

            register_resolvers()
            return super().__call__(*args, **options)

        def launch(
            self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
        ) -> Sequence[JobReturn]:
            """Submit, wait until all have ended, and return what each gave."""
            from protemb.apps.launching import launch

            return launch(self, job_overrides, initial_job_idx)
