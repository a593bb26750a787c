"""A picture on a page of PDF, written by hand: for machines without a library that writes PDF."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

__all__ = ["pdf_of", "pixels_of"]

COLOURS = 3


def pdf_of(png: bytes, size: tuple[float, float], title: str) -> bytes:
    """Return a PDF of one page of ``size`` points that a PNG (8-bit RGBA, opaque) fills.

    >>> from gradviz.views.drawing import draw
    >>> from gradviz.graphs import Graph, Node
    >>> pdf_of(draw(Graph((Node(0, "x", "input", "input"),))).png(), (72, 72), "x").count(b" obj")
    6
    """
    pixels = pixels_of(png)
    height, width = pixels.shape[:2]
    rows = np.diff(pixels.reshape(height, -1), axis=0, prepend=np.zeros((1, width * COLOURS), np.uint8))
    data = zlib.compress(np.insert(rows, 0, 2, axis=1).tobytes(), 9)  # 2: each row less the one above
    across, down = (f"{side:.2f}" for side in size)
    coding = f"/Filter/FlateDecode/DecodeParms<</Predictor 15/Colors 3/Columns {width}>>"
    look = f"/Width {width}/Height {height}/ColorSpace/DeviceRGB/BitsPerComponent 8"
    name = title.encode("utf-16-be").hex()
    objects = (
        "<</Type/Catalog/Pages 2 0 R/ViewerPreferences<</DisplayDocTitle true>>>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {across} {down}]/Contents 4 0 R/Resources<</XObject<</Im 5 0 R>>>>>>",
        _stream("", f"q {across} 0 0 {down} 0 0 cm /Im Do Q".encode()),
        _stream(f"/Type/XObject/Subtype/Image{look}{coding}", data),
        f"<</Title<feff{name}>/Producer(gradviz)>>",
    )
    return _file([text.encode() if isinstance(text, str) else text for text in objects])


def _stream(attributes: str, data: bytes) -> bytes:
    return f"<<{attributes}/Length {len(data)}>>\nstream\n".encode() + data + b"\nendstream"


def _file(objects: list[bytes]) -> bytes:
    """Return the objects, the last of which is the document information, as a file."""
    found, places = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n"), []
    for number, text in enumerate(objects, start=1):
        places.append(len(found))
        found += b"%d 0 obj\n%b\nendobj\n" % (number, text)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    start, count = len(found), len(objects) + 1
    found += f"xref\n0 {count}\n0000000000 65535 f \n{table}".encode()
    found += f"trailer\n<</Size {count}/Root 1 0 R/Info {count - 1} 0 R>>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(found)


def pixels_of(png: bytes) -> np.ndarray:
    """Return the colours of an 8-bit RGBA PNG that is opaque, as an array (height, width, 3).

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> pixels_of(draw(Graph((Node(0, "x", "input", "input"),))).png())[0, 0].tolist()
    [255, 255, 255]
    """
    parts = list(_chunks(png))
    width, height = struct.unpack(">II", parts[0][1][:8])
    packed = b"".join(data for kind, data in parts if kind == b"IDAT")
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 4 * width)
    return _unfiltered(rows[:, 0], rows[:, 1:].reshape(height, width, 4)[:, :, :COLOURS])


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(png):
        (size,) = struct.unpack_from(">I", png, place)
        yield png[place + 4 : place + 8], png[place + 8 : place + 8 + size]
        place += 12 + size


def _unfiltered(kinds: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return what was filtered row by row (PNG specification, chapter 9).

    A pixel depends on those to its left and above, so the pixels of a diagonal do not depend
    on each other: each row is shifted by one more, and the columns are gone through.
    """
    height, width = rows.shape[:2]
    lanes = np.zeros((height + width + 1, height + 1, COLOURS), np.int16)
    for y in range(height):
        lanes[y + 2 : y + 2 + width, y + 1] = rows[y]
    masks = [np.repeat((kinds == kind).astype(np.int16)[:, None], COLOURS, axis=1) for kind in range(5)]
    for lane in range(2, height + width + 1):
        low, high = max(0, lane - 1 - width), min(lane - 1, height)
        left, above = lanes[lane - 1, low + 1 : high + 1], lanes[lane - 1, low:high]
        _, sub, up, average, paeth = (mask[low:high] for mask in masks)
        here = lanes[lane, low + 1 : high + 1]
        here += sub * left + up * above + average * ((left + above) >> 1)
        here += paeth * _nearest(left, above, lanes[lane - 2, low:high])
        here &= 255
    found = np.empty(rows.shape, np.uint8)
    for y in range(height):
        found[y] = lanes[y + 2 : y + 2 + width, y + 1]
    return found


def _nearest(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return what is nearest to left + above - corner: Paeth's guess."""
    rise, run = above - corner, left - corner
    to_left, to_above, to_corner = np.abs(rise), np.abs(run), np.abs(rise + run)
    other = np.where(to_above <= to_corner, above, corner)
    return np.where(to_left <= np.minimum(to_above, to_corner), left, other)
