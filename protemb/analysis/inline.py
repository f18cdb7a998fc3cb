"""An SVG file as a part of a page: no name, style or script of it reaches beyond the picture."""

import re
from os import PathLike
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

# What matplotlib draws with. Its `style` element would hold for the whole page.
DRAWN = set(
    "svg g defs path use text tspan image clipPath rect circle line polygon pattern".split()
)
PIXELS = 96 / 72  # of a point
READABLE = 560
"""Pixels that a wide picture keeps on a phone, where it scrolls in its box."""


def inline_svg(path: str | PathLike[str], *, alt: str, prefix: str) -> str:
    """Read an SVG file as an element for HTML.

    Args:
        path: the file, with its size in points.
        alt: what it shows.
        prefix: put before each id, so that pictures of one page do not meet.

    Raises:
        OSError: no such file.
        xml.etree.ElementTree.ParseError: it is no XML.
    """
    root = ElementTree.parse(path).getroot()
    _clean(root, prefix)
    width, height = (float(root.attrib[side].removesuffix("pt")) * PIXELS for side in SIDES)
    root.attrib |= {
        "width": f"{width:.0f}",
        "height": f"{height:.0f}",
        "style": f"min-width: {min(width, READABLE):.0f}px",
        "role": "img",
        "aria-label": alt,
    }
    return ElementTree.tostring(root, encoding="unicode")


SIDES = ("width", "height")


def _clean(element: Element, prefix: str) -> None:
    element.tag = _local(element.tag)
    element.tail = (element.tail or "").strip("\n ")
    attributes = {_local(name): value for name, value in element.attrib.items()}
    element.attrib.clear()
    for name, value in attributes.items():
        if name == "id":
            value = prefix + value
        elif name == "href":
            if not value.startswith(("#", "data:image/png;")):
                continue
            value = value.replace("#", f"#{prefix}", 1) if value[0] == "#" else value
        elif name.startswith("on"):
            continue
        element.set(name, re.sub(r"url\(#", f"url(#{prefix}", value))
    for child in list(element):
        if _local(child.tag) in DRAWN:
            _clean(child, prefix)
        else:
            element.remove(child)


def _local(name: str) -> str:
    """A name without its namespace, which HTML knows by itself."""
    return name.rpartition("}")[2]
