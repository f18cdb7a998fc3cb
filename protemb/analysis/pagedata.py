"""What a page's script needs to draw maps, as JSON that can stand inside HTML.

Shape letters: M = points of a map.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from protemb.analysis.canvas import COLOURS, GREY, MARKERS
from protemb.analysis.document import Scatter

LISTED = len(COLOURS) * len(MARKERS)
"""Classes that a map tells apart; the rarer ones are 'other'."""

SYMBOLS = {"o": "circle", "^": "triangle-up"}
Value = str | int | float | None


def as_json(payload: object) -> str:
    r"""JSON without `<`, `>` and `&`: no tag and no comment starts or ends in it.

    >>> as_json({"id": "</script>&"})
    '{"id":"\\u003c/script\\u003e\\u0026"}'
    """
    text = json.dumps(payload, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def payload(scatter: Scatter) -> dict[str, object]:
    """Everything that the page shows of the maps, in plain values.

    The points are shuffled, else the last class would cover the others.
    """
    order_M = np.random.default_rng(0).permutation(len(scatter.ids)).tolist()
    return {
        "ids": [str(scatter.ids[row]) for row in order_M],
        "maps": [
            {
                "name": name,
                "note": scatter.notes.get(name, ""),
                **_points(np.asarray(points_M2, np.float64)[order_M]),
            }
            for name, points_M2 in scatter.maps.items()
        ],
        "fields": [
            {"name": name, **_values([values[row] for row in order_M])}
            for name, values in scatter.fields.items()
        ],
        "colourBy": list(scatter.fields).index(scatter.colour_by),
        "colours": COLOURS,
        "symbols": [SYMBOLS[marker] for marker in MARKERS],
        "grey": GREY,
    }


def _points(points_M2: np.ndarray) -> dict[str, list[float | None]]:
    """Coordinates to a ten-thousandth of the map's width: more than a screen shows."""
    points_M2 = np.where(np.isfinite(points_M2).all(1, keepdims=True), points_M2, np.nan)
    known = points_M2[np.isfinite(points_M2)]
    width = float(np.ptp(known)) if known.size else 0.0
    decimals = 4 - math.floor(math.log10(width)) if width else 0
    rounded = [
        [None if math.isnan(x) else round(x, decimals) for x in row] for row in points_M2.T.tolist()
    ]
    return dict(zip("xy", rounded, strict=True))


def _values(values: Sequence[Value]) -> dict[str, object]:
    """A field as numbers, or as places in the list of its names, the listed classes named first.

    The 12 most frequent names are listed; -1 stands for an unknown value.
    """
    known = [None if _unknown(value) else value for value in values]
    present = [value for value in known if value is not None]
    if present and not any(isinstance(value, str | bool) for value in present):
        return {"kind": "numbers", "values": [None if v is None else _plain(v) for v in known]}
    counts = Counter(map(str, present))
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    names = sorted(ranked[:LISTED]) + ranked[LISTED:]
    place = {name: index for index, name in enumerate(names)}
    return {
        "kind": "classes",
        "names": names,
        "listed": min(LISTED, len(names)),
        "values": [-1 if value is None else place[str(value)] for value in known],
    }


def _unknown(value: Value) -> bool:
    return value is None or value == "" or (isinstance(value, float) and not math.isfinite(value))


def _plain(value: Value) -> int | float:
    number = float(value)  # type: ignore[arg-type]  # the caller has looked
    return int(number) if number.is_integer() else number
