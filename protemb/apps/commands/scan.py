"""`protemb scan`: every single substitution of a protein, by a fitted model of variants.py."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protemb.apps.commands.arguments import count, progress_bar
from protemb.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np

    from protemb.apps.variants.fitted import FittedModel

EPILOG = """\
protemb scan runs/variants/fireprotdb/RUN barnase.fasta -o barnase.csv
protemb scan RUN barnase.fasta -o barnase.csv --covariates structure.csv    position,struc

Writes the table and, beside it, a heatmap (barnase.svg and barnase.png).
"""


def add(commands: Any) -> None:
    """Add the command to the command line."""
    scan = commands.add_parser(
        "scan",
        help="score all single substitutions of a protein with a fitted model",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scan.add_argument("model", help="run folder of variants.py")
    scan.add_argument("fasta", help="one protein, plain, .gz or .zst")
    scan.add_argument("-o", "--output", required=True, help="table.csv, .tsv or .parquet")
    scan.add_argument("--record", metavar="ID", help="which record, where the file has several")
    scan.add_argument(
        "--covariates",
        metavar="TABLE",
        help="column `position` (from 1) and one for each covariate of the model; what is not "
        "given is unknown",
    )
    scan.add_argument(
        "--tolerance",
        type=_tolerance,
        default=0.0,
        metavar="SHARE",
        help="stop where a recurrent network's states are back at the wild type's to this share "
        "(1e-6, say); default: exact",
    )
    scan.add_argument("--weights", help="where the encoder's weights are now, if they were moved")
    scan.add_argument("--residues", type=count, default=32_768, help="budget of one batch")
    scan.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    scan.set_defaults(run=scan_protein)


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a share from 0 to below 1")
    return value


def scan_protein(options: argparse.Namespace) -> None:
    """Score, write the table and the heatmap."""
    from protemb.analysis.measured_figure import scan_figure
    from protemb.apps.variants.fitted import load_fitted
    from protemb.models.devices import open_device
    from protemb.models.scanning import shares
    from protemb.variants.scan import scan

    output = Path(options.output)
    _check_output(output)
    open_device(options.device)
    record, sequence = _read_protein(options)
    model = load_fitted(options.model, weights=options.weights, device=options.device)
    covariates = _read_covariates(options.covariates, model, sequence)
    how = shares(model.encoder.encoder, model.cell.level)
    print(f"{model.cell.name}, {19 * len(sequence):,} variants; shared with the wild type: {how}")
    with progress_bar() as bar:
        task = bar.add_task("scanning", total=19 * len(sequence))
        scores_LA = scan(
            model.encoder.encoder,
            model.encoder.alphabet,
            sequence,
            model.cell,
            model.predict,
            covariates=covariates,
            tolerance=options.tolerance,
            residues=options.residues,
            progress=lambda done: bar.advance(task, done),
        )
    _write(output, sequence, scores_LA)
    name = model.facts["table"]["name"]
    scan_figure(
        scores_LA,
        sequence,
        output.with_suffix(".svg"),
        title=f"{record}: predicted value, {model.cell.name}, fitted to {name}",
        unit="predicted value",
    )
    print(f"{int((scores_LA == scores_LA).sum()):,} scores: {output}, {output.with_suffix('.svg')}")


def _check_output(output: Path) -> None:
    if output.suffix not in (".csv", ".tsv", ".parquet"):
        raise ConfigError("--output", str(output), "a name in .csv, .tsv or .parquet")


def _read_protein(options: argparse.Namespace) -> tuple[str, str]:
    """The one protein, in upper case."""
    from protemb.sequences.fasta import read_fasta

    wanted = options.record
    found = [
        (header.split()[0], sequence.decode("latin-1").upper())
        for header, sequence, _ in read_fasta(options.fasta)
        if wanted is None or wanted == header.split()[0]
    ]
    if not found:
        raise InputError(options.fasta, "no such record", record=wanted)
    if len(found) > 1:
        problem = f"got {len(found)} records, expected one; --record ID chooses it"
        raise InputError(options.fasta, problem)
    return found[0][0], found[0][1].removesuffix("*")


def _read_covariates(
    path: str | None, model: "FittedModel", sequence: str
) -> "dict[str, np.ndarray]":
    """Values of each covariate, residue by residue; unknown where they are not given."""
    import numpy as np

    from protemb.sequences.tables import read_table, require_columns

    length, columns = len(sequence), model.base
    found: dict[str, np.ndarray] = {
        name: np.full(length, "" if name in columns.categories else np.nan, dtype=object)
        for name in columns.covariates
    }
    given = [] if path is None else list(read_table(path))
    for row, line in given:
        assert path is not None
        names = [name for name in found if name in row]
        require_columns(path, row, ["position"])
        place = row["position"]
        if not place.isdecimal() or not 1 <= int(place) <= length:
            raise InputError(path, f"position: got {place!r}, expected 1 to {length}", line)
        if not names:
            expected = ", ".join(found) or "none: the model has no covariates"
            raise InputError(path, f"no column of the model's covariates ({expected})", 1)
        for name in names:
            found[name][int(place) - 1] = _value(path, line, name, row[name], columns.categories)
    return {
        name: values_L.astype(str if name in columns.categories else np.float64)
        for name, values_L in found.items()
    }


def _value(path: str, line: int, name: str, text: str, categories: Any) -> str | float:
    if name in categories:
        if text and text not in categories[name]:
            known = ", ".join(repr(word) for word in categories[name])
            raise InputError(path, f"{name}: got {text!r}, expected one of {known}", line)
        return text
    try:
        return float(text) if text else float("nan")
    except ValueError:
        raise InputError(path, f"{name}: got {text!r}, expected a number", line) from None


def _write(output: Path, sequence: str, scores_LA: "np.ndarray") -> None:
    """One row per substitution: mutation, position, wild-type and new residue, score."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    from protemb.files import whole_file
    from protemb.sequences.amino_acids import RESIDUES

    places, letters = np.nonzero(~np.isnan(scores_LA))
    wild = [sequence[place] for place in places]
    new = [RESIDUES[letter] for letter in letters]
    table = pa.table(
        {
            "mutation": [
                f"{a}{place + 1}{b}" for a, place, b in zip(wild, places, new, strict=True)
            ],
            "position": places + 1,
            "wild_type": wild,
            "new": new,
            "score": scores_LA[places, letters],
        }
    )
    with whole_file(output) as part:
        if output.suffix == ".parquet":
            pa.parquet.write_table(table, part)
        else:
            delimiter = "\t" if output.suffix == ".tsv" else ","
            options = pa.csv.WriteOptions(delimiter=delimiter, quoting_style="needed")
            pa.csv.write_csv(table, part, options)
