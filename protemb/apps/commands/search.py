"""`protemb search`: the nearest vectors of a table."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from protemb.apps.commands.arguments import count, progress_bar
from protemb.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np

    from protemb.vectors.table import VectorTable

SAMPLE = 200
"""Queries on which an approximate search is held against the exact one."""


def add(commands: Any) -> None:
    """Add the command to the command line."""
    search = commands.add_parser("search", help="the nearest vectors of a table")
    search.add_argument("vectors", help="vector table to search in")
    search.add_argument("queries", help="vector table to search for, of the same model")
    search.add_argument(
        "-k", type=count, default=10, metavar="N", help="hits of a query (default: 10)"
    )
    search.add_argument("-o", "--output", help="table to write (default: standard output)")
    search.add_argument(
        "--metric",
        choices=["cosine", "euclidean", "dot"],
        default="cosine",
        help="(default: cosine)",
    )
    search.add_argument(
        "--exclude-self", action="store_true", help="a query does not find the vector of its own id"
    )
    search.add_argument("--faiss", action="store_true", help="use the faiss library (float32)")
    search.add_argument(
        "--approximate",
        action="store_true",
        help="faiss's HNSW graph; its recall is measured and said",
    )
    search.set_defaults(run=search_vectors)


def search_vectors(options: argparse.Namespace) -> None:
    """Write a row for each hit: query, rank, id, score, and the label where there is one."""
    from protemb.files import write_text
    from protemb.vectors.search import nearest, nearest_by_faiss, recall
    from protemb.vectors.table import VectorTable, check_same

    table, queries = VectorTable.read(options.vectors), VectorTable.read(options.queries)
    check_same([table, queries])
    _check_finite(table)
    _check_finite(queries)
    own_M = own_rows(table, queries) if options.exclude_self else None

    def exact(queries_MD: "np.ndarray", own_M: "np.ndarray | None", **more: Any) -> Any:
        vectors_ND = table.vectors_ND
        return nearest(vectors_ND, queries_MD, options.k, options.metric, own_M=own_M, **more)

    if options.faiss or options.approximate:
        found_Mk, scores_Mk = nearest_by_faiss(
            table.vectors_ND,
            queries.vectors_ND,
            options.k,
            options.metric,
            approximate=options.approximate,
            own_M=own_M,
        )
    else:
        with progress_bar() as bar:
            task = bar.add_task("searching", total=len(queries))
            found_Mk, scores_Mk = exact(
                queries.vectors_ND, own_M, progress=lambda done: bar.advance(task, done)
            )
    if options.approximate:
        sample = slice(None, None, -(-len(queries) // SAMPLE))
        own_S = None if own_M is None else own_M[sample]
        share = recall(found_Mk[sample], exact(queries.vectors_ND[sample], own_S)[0])
        print(f"recall of the exact hits: {share:.4f}", file=sys.stderr)
    text = hit_table(table, queries, found_Mk, scores_Mk)
    if options.output is None:
        sys.stdout.write(text)
    else:
        write_text(options.output, text)
        print(f"{found_Mk.size} hits of {len(queries)} queries: {options.output}")


def _check_finite(table: "VectorTable") -> None:
    import numpy as np

    finite_N = np.isfinite(table.vectors_ND).all(1)
    if not finite_N.all():
        record_id = table.ids[int(np.argmin(finite_N))]
        problem = "its vector holds numbers that are not finite"
        raise InputError(table.source, problem, record=record_id)


def own_rows(table: "VectorTable", queries: "VectorTable") -> "np.ndarray":
    """The row of each query's own id, or -1."""
    import numpy as np

    rows = {record_id: row for row, record_id in enumerate(table.ids)}
    if len(rows) < len(table):
        raise ConfigError("--exclude-self", table.source, "a table in which no id repeats")
    return np.array([rows.get(record_id, -1) for record_id in queries.ids])


def hit_table(
    table: "VectorTable", queries: "VectorTable", found_Mk: "np.ndarray", scores_Mk: "np.ndarray"
) -> str:
    """Tab-separated text; ranks count from 1."""
    label = [] if table.labels is None else ["label"]
    lines = ["\t".join(["query", "rank", "id", "score", *label])]
    for query, found_k, scores_k in zip(queries.ids, found_Mk, scores_Mk, strict=True):
        for rank, (row, score) in enumerate(zip(found_k, scores_k, strict=True), start=1):
            if row < 0:
                continue
            cells = [query, str(rank), table.ids[row], f"{score:.8g}"]
            if table.labels is not None:
                cells.append(str(table.labels[row]))
            # A tab inside an id would shift the columns.
            lines.append("\t".join(cell.replace("\t", " ") for cell in cells))
    return "\n".join(lines) + "\n"
