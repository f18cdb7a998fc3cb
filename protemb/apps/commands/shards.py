"""`protemb merge`, and what `protemb embed` takes to compute shares of the input as jobs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protemb.apps.commands.arguments import count
from protemb.errors import ConfigError

if TYPE_CHECKING:
    from protemb.sequences.reading import Shard


def add(commands: Any) -> None:
    """Add the command to the command line."""
    merge = commands.add_parser("merge", help="join the shards of `protemb embed --shard`")
    merge.add_argument("shards", nargs="+", help="all of them, in any order")
    merge.add_argument("-o", "--output", required=True, help="as for `protemb embed`")
    merge.add_argument("--layout", choices=["table", "uniprot"], default="table")
    merge.set_defaults(run=merge_shards)


def add_sharding(embed: argparse.ArgumentParser) -> None:
    """Arguments of `protemb embed` for one share, and for all of them at the same time."""
    embed.add_argument(
        "--shard", metavar="I/N", help="only this share of the input; `protemb merge` joins them"
    )
    embed.add_argument(
        "--launcher",
        choices=["local", "slurm"],
        help="compute all shares at the same time and merge them: as processes on this machine, as "
        "many as it has cores, or as a Slurm job array (docs/cluster.md)",
    )
    embed.add_argument("--shards", type=count, metavar="N", help="how many, with --launcher")
    embed.add_argument(
        "--slurm",
        action="append",
        metavar="KEY=VALUE",
        help="what a job asks for: partition=gpu, timeout_min=240, cpus_per_task=4, mem_gb=16, "
        "gpus_per_node=1 (the default with --device cuda), ...; may be given several times",
    )


def wants_shards(options: argparse.Namespace) -> bool:
    """Whether the input is to be embedded share by share.

    Raises:
        ConfigError: options that do not go together.
    """
    if options.slurm and options.launcher != "slurm":
        raise ConfigError("--slurm", options.slurm[0], "--launcher slurm beside it")
    if (options.launcher is None) != (options.shards is None):
        name = "--shards" if options.launcher is None else "--launcher"
        raise ConfigError(name, options.shards or options.launcher, "--launcher and --shards")
    if options.launcher and options.shard:
        raise ConfigError("--shard", options.shard, "nothing: --launcher computes all shards")
    return options.launcher is not None


def shard_path(output: Path, shard: "Shard | None") -> Path:
    """Where a share of the output goes: vectors.2-of-8.h5."""
    if shard is None:
        return output
    return output.with_name(f"{output.stem}.{shard.number}-of-{shard.of}{output.suffix}")


def check_output(options: argparse.Namespace, output: Path, shard: "Shard | None") -> None:
    """Refuse before the work, not after it."""
    from protemb.vectors.formats.blocks import table_format
    from protemb.vectors.writers import open_writer

    kind = table_format(output)
    open_writer(output, {}, layout=options.layout)  # opens nothing yet; says what is missing
    if output.is_dir():
        raise ConfigError("--output", str(output), "a file, not a folder")
    for wanted, option in ((options.per_residue, "--per-residue"), (shard, "--shard")):
        if wanted and kind != "hdf5":
            raise ConfigError("--output", str(output), f"a name in .h5 with {option}")
    if options.layout == "uniprot" and (shard or kind != "hdf5"):
        raise ConfigError("--layout", "uniprot", "table, unless the output is one .h5 file")
    if options.legacy_batches and (shard or options.per_residue or options.precision != "float32"):
        raise ConfigError("--legacy-batches", options.legacy_batches, "plain vectors in float32")
    if options.dtype == "float16" and not options.per_residue:
        raise ConfigError("--dtype", "float16", "float32, unless --per-residue is given")


def merge_shards(options: argparse.Namespace) -> None:
    """Write one table from all shards of an input."""
    from protemb.vectors.merging import merge

    count = merge([Path(path) for path in options.shards], Path(options.output), options.layout)
    print(f"{count:,} records from {len(options.shards)} shards: {options.output}")
