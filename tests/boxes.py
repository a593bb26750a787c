"""Where everything in an SVG of ours is: texts measured with our fonts, outlines, and points along the lines."""

import re
import xml.etree.ElementTree as ET
from functools import cache
from itertools import combinations

from fontTools.ttLib import TTFont

from gradviz.views import raster

SVG = "{http://www.w3.org/2000/svg}"
POINT = re.compile(r"(-?[\d.]+),(-?[\d.]+)")
CURVE_POINTS = 12


class Found:
    """A box in the picture and what it is: left, top, right, bottom."""

    def __init__(self, what, box, group):
        self.what, self.box, self.group = what, box, group

    def __repr__(self):
        return f"{self.what!r} at {[round(side, 1) for side in self.box]}"


@cache
def font(family, style):
    """Return the widths of the characters of one of our fonts, of an em."""
    loaded = TTFont(raster.FOLDER / f"{family.replace(' ', '')}-{style}.ttf")
    widths, em = loaded["hmtx"], loaded["head"].unitsPerEm
    return {code: widths[glyph][0] / em for code, glyph in loaded.getBestCmap().items()}


def width_of(text, size, family, look):
    """Return how wide a text is."""
    style = "Bold" if look.get("font-weight") == "bold" else "Italic" if look.get("font-style") else "Regular"
    widths = font(family, style)
    return sum(size * widths.get(ord(char), 1.0) for char in text)


def text_box(element, family):
    """Return the box around the letters of a text element."""
    size = float(element.get("font-size", 12))
    wide = width_of(element.text or "", size, family, element)
    for part in element:
        wide += width_of(part.text or "", float(part.get("font-size", size)), family, {**element.attrib, **part.attrib})
    x, y = float(element.get("x")), float(element.get("y"))
    left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor", "start")] * wide
    return left, y - size * 0.7, left + wide, y + size * 0.18


def parts_of(svg):
    """Return the texts, the outlines of gates and names, and points along wires: (texts, outlines, points)."""
    root = ET.fromstring(svg)
    family = raster.OURS[root.get("font-family")]
    texts, outlines, points = [], [], []
    for number, group in enumerate(root.iter(f"{SVG}g")):
        if group.get("class", "") in ("", "gv-scope"):
            continue
        for element in group:
            tag = element.tag.removeprefix(SVG)
            if tag == "text":
                texts.append(Found("".join(element.itertext()), text_box(element, family), number))
            elif tag == "rect" and element.get("class") != "gv-area":  # what a pointer can hit
                x, y, wide, high = (float(element.get(name)) for name in ("x", "y", "width", "height"))
                outlines.append(Found("outline", (x, y, x + wide, y + high), number))
            elif tag == "line":
                ends = [float(element.get(name)) for name in ("x1", "y1", "x2", "y2")]
                shares = (step / CURVE_POINTS for step in range(CURVE_POINTS + 1))
                points += [(ends[0] + t * (ends[2] - ends[0]), ends[1] + t * (ends[3] - ends[1])) for t in shares]
            elif tag == "path":
                points += along(element.get("d"))
    return texts, outlines, points


def along(path):
    """Yield points along the curves of a path."""
    places = [(float(x), float(y)) for x, y in POINT.findall(path)]
    for start in range(0, len(places) - 3, 3):
        a, b, c, d = places[start : start + 4]
        for step in range(CURVE_POINTS + 1):
            t, u = step / CURVE_POINTS, 1 - step / CURVE_POINTS
            yield tuple(u**3 * a[i] + 3 * u * u * t * b[i] + 3 * u * t * t * c[i] + t**3 * d[i] for i in (0, 1))


def overlap(one, other, slack=0.4):
    """Tell whether two boxes share more than a hair."""
    return (
        min(one[2], other[2]) - max(one[0], other[0]) > slack and min(one[3], other[3]) - max(one[1], other[1]) > slack
    )


def collisions(svg):
    """Return everything that lies on something else: texts on texts, outlines or wires, and what is cut off."""
    texts, outlines, points = parts_of(svg)
    found = [(one, other) for one, other in combinations(texts, 2) if overlap(one.box, other.box)]
    found += [
        (text, outline)
        for text in texts
        for outline in outlines
        if overlap(text.box, outline.box) and not (text.group == outline.group and is_inside(text.box, outline.box))
    ]
    found += [(one, other) for one, other in combinations(outlines, 2) if overlap(one.box, other.box)]
    for text in texts:
        left, top, right, bottom = text.box
        found += [
            (text, point)
            for point in points
            if left + 0.4 < point[0] < right - 0.4 and top + 0.4 < point[1] < bottom - 0.4
        ]
    return found + cut_off(svg, texts)


def is_inside(one, other):
    """Tell whether a box lies inside another."""
    return one[0] >= other[0] and one[1] >= other[1] and one[2] <= other[2] and one[3] <= other[3]


def cut_off(svg, texts):
    """Return the texts that are not wholly in the picture."""
    root = ET.fromstring(svg)
    left, top, wide, high = map(float, root.get("viewBox").split())
    moved = re.search(r"translate\(([-\d.]+)[ ,]+([-\d.]+)\)", root.find(f"{SVG}g").get("transform"))
    dx, dy = float(moved[1]), float(moved[2])
    return [
        (text, "cut off")
        for text in texts
        if not is_inside(
            (text.box[0] + dx, text.box[1] + dy, text.box[2] + dx, text.box[3] + dy),
            (left, top, left + wide, top + high),
        )
    ]
