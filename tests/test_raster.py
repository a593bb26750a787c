"""PNG and PDF: size, pixels, fonts of our own, the same bytes every time."""

import io
import re
import struct
import sys
import zlib
from itertools import product

import numpy as np
import pytest
from fontTools.ttLib import TTFont  # comes with matplotlib
from matplotlib.image import imread

from gradviz.errors import GradvizValueError, LayoutError
from gradviz.views import raster
from gradviz.views.drawing import Drawing, draw
from gradviz.views.pdf import pdf_of, pixels_of
from tests.hostile import HOSTILE
from tests.pictures import article, chain, network


def size_of(png):
    return struct.unpack(">II", png[16:24])


def view_of(drawing):
    return [float(text) for text in re.search(r'viewBox="([^"]*)"', drawing.svg)[1].split()[2:]]


def stream_objects(pdf):
    """Return number and text of every object, found through the cross-reference table alone."""
    start = int(re.search(rb"startxref\s+(\d+)\s+%%EOF", pdf)[1])
    assert pdf[start : start + 4] == b"xref"
    count = int(pdf[start:].split()[2])
    places = [int(line[:10]) for line in pdf[start:].split(b"\n")[3 : 2 + count]]
    assert all(pdf[place:].startswith(f"{number} 0 obj".encode()) for number, place in enumerate(places, 1))
    return {number: pdf[place : pdf.index(b"endobj", place)] for number, place in enumerate(places, 1)}


@pytest.mark.parametrize("scale", [0.5, 1, 2.0, np.float64(3)])
def test_a_png_has_the_size_of_the_picture_times_the_scale(scale):
    drawing = draw(article())
    png = drawing.png(scale)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    expected = [side * 4 / 3 * scale for side in view_of(drawing)]
    assert all(abs(found - side) <= 1 for found, side in zip(size_of(png), expected, strict=True))


def test_a_png_holds_the_picture_on_an_opaque_ground():
    pixels = pixels_of(draw(article()).png(1))
    assert (pixels[0, 0] == 255).all()
    ink = (pixels.min(axis=2) < 120).mean()
    assert 0.01 < ink < 0.3
    colours = {tuple(colour) for colour in pixels.reshape(-1, 3)[::7].tolist()}
    assert any(red > blue + 80 for red, _, blue in colours)  # a positive gradient
    assert any(blue > red + 40 for red, _, blue in colours)  # and a negative one


def test_pixels_are_read_as_matplotlib_reads_them():
    png = draw(network()).png(1)
    theirs = np.rint(imread(io.BytesIO(png)) * 255).astype(np.uint8)
    assert (pixels_of(png) == theirs[:, :, :3]).all()
    assert (theirs[:, :, 3] == 255).all()


def filtered(pixels, kinds):
    """Return PNG bytes of RGBA pixels with the filter of each row as given."""
    height, width = pixels.shape[:2]
    padded = np.zeros((height + 1, width + 1, 4), np.int64)
    padded[1:, 1:] = pixels
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    guess = left + above - corner
    distances = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
    paeth = np.choose(distances.argmin(axis=0), [left, above, corner])
    guesses = [np.zeros_like(left), left, above, (left + above) // 2, paeth]
    rows = [
        bytes([kind]) + bytes(((pixels[y] - guesses[kind][y]) % 256).astype(np.uint8)) for y, kind in enumerate(kinds)
    ]
    data = zlib.compress(b"".join(rows))
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", data[:7]), (b"IDAT", data[7:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in chunks
    )


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (12, 7), (7, 12)])
def test_every_filter_of_a_png_is_undone(height, width):
    rng = np.random.default_rng(height * 100 + width)
    pixels = rng.integers(0, 256, (height, width, 4)).astype(np.int64)
    for kinds in ([row % 5 for row in range(height)], [4] * height, [3] * height):
        assert (pixels_of(filtered(pixels, kinds)) == pixels[:, :, :3]).all()


def test_dark_is_drawn_on_dark_paper_and_auto_as_light():
    dark = pixels_of(draw(article(), theme="dark").png(1))
    assert dark[0, 0].tolist() == [0x12, 0x16, 0x1B]
    light, auto = (pixels_of(draw(article(), theme=theme).png(1)) for theme in ("light", "auto"))
    assert (light == auto).all()
    assert pixels_of(draw(article(), theme="print").png(1))[0, 0].tolist() == [255, 255, 255]


def test_text_is_drawn_without_any_font_of_the_machine():
    sheet = raster.Sheet(draw(article()))
    assert not sheet.needs_more_fonts
    with_text = pixels_of(sheet.png(1))
    sheet.svg = re.sub(r"<text.*?</text>", "", sheet.svg, flags=re.S)
    assert (with_text != pixels_of(sheet.png(1))).any(axis=2).sum() > 2000


def test_our_fonts_hold_every_character_they_are_trusted_with():
    trusted = {*map(ord, raster.SIGNS - {"\n"}), *(code for part in raster.COVERED for code in part)}
    trusted -= set(range(0x7F, 0xA0))  # controls, which never come this far
    for family, style in product(("Sans", "Serif"), ("Regular", "Bold", "Italic")):
        font = TTFont(raster.FOLDER / f"Gradviz{family}-{style}.ttf")
        assert trusted <= set(font.getBestCmap())
    assert "SIL OPEN FONT LICENSE" in (raster.FOLDER / "OFL.txt").read_text("utf-8")


def test_what_no_font_can_draw_is_shown_as_its_code(monkeypatch):
    drawing = draw(chain(("日本", "\U000f0000x")))  # the second is private: no font has it
    sheet = raster.Sheet(drawing)
    assert sheet.needs_more_fonts
    assert "\\U000F0000x" in sheet.svg
    monkeypatch.setattr(raster, "_rendered", lambda svg, scale, paper, **_: WHITE_SHEET)
    assert "\\u65E5\\u672C" in raster.Sheet(drawing).svg


WHITE_SHEET = filtered(np.full((raster.CELL, raster.CELL * raster.ROW, 4), 255, np.int64), [0] * raster.CELL)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), 1e-6, 1e6, True, "2", None])
def test_a_scale_that_makes_no_sense_is_refused(scale):
    with pytest.raises(GradvizValueError, match=r"scale|pixels"):
        draw(article()).png(scale)


def test_a_picture_that_names_a_file_is_refused(tmp_path):
    drawing = draw(article())
    svg = drawing.svg.replace("<g ", '<image href="/etc/hostname" width="9" height="9"/><g ', 1)
    drawing.__dict__["svg"] = svg
    with pytest.raises(LayoutError, match="image"):
        drawing.png()
    with pytest.raises(LayoutError, match="image"):
        drawing.save(tmp_path / "x.pdf")
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_come_through_both_formats():
    drawing = draw(chain(HOSTILE), direction="TB", title="<b>\x00\u202e</title>")
    assert size_of(drawing.png(0.5))[1] > 1000
    assert raster.to_pdf(drawing).startswith(b"%PDF-")


def test_the_same_picture_gives_the_same_bytes():
    for write in (raster.to_png, raster.to_pdf, lambda drawing: raster._picture_pdf(raster.Sheet(drawing))):
        assert write(draw(network())) == write(draw(network()))


def test_a_pdf_with_typst_is_one_page_of_lines_and_text():
    drawing = draw(article(), title="The title é ∂")
    pdf = raster.to_pdf(drawing)
    assert pdf.rstrip().endswith(b"%%EOF")
    assert pdf.count(b"/Type/Page/") + pdf.count(b"/Type/Page\n") == 1
    width, height = (float(text) for text in re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf).groups())
    assert [width, height] == pytest.approx(view_of(drawing), abs=0.1)
    assert b"GradvizSans" in pdf
    assert b"/Subtype/Image" not in pdf
    assert b"CreationDate" not in pdf
    assert b"ModDate" not in pdf


def test_a_pdf_without_typst_holds_the_picture(monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    drawing = draw(article(), title="The title é ∂ \U0001f600")
    pdf = raster.to_pdf(drawing)
    objects = stream_objects(pdf)
    assert len(objects) == 6
    width, height = (float(text) for text in re.search(rb"/MediaBox\[0 0 ([\d.]+) ([\d.]+)\]", objects[3]).groups())
    assert [width, height] == pytest.approx(view_of(drawing), abs=0.1)
    title = bytes.fromhex(re.search(rb"/Title<([0-9a-f]+)>", objects[6])[1].decode())
    assert title.decode("utf-16") == "The title é ∂ \U0001f600"
    across, down = (int(re.search(rb"/%b (\d+)" % key, objects[5])[1]) for key in (b"Width", b"Height"))
    assert across / width == pytest.approx(300 / 72, rel=0.01)
    image = objects[5]
    length = int(re.search(rb"/Length (\d+)", image)[1])
    start = image.index(b"stream\n") + 7
    rows = np.frombuffer(zlib.decompress(image[start : start + length]), np.uint8).reshape(down, 1 + 3 * across)
    assert (rows[:, 0] == 2).all()
    pixels = np.cumsum(rows[:, 1:].astype(np.uint8), axis=0, dtype=np.uint8).reshape(down, across, 3)
    assert (pixels == pixels_of(drawing.png(300 / 96))).all()


def test_the_size_of_a_page_stays_within_what_pdf_allows():
    sheet = raster.Sheet(draw(article()))
    sheet.width, sheet.height = 100_000.0, 50.0
    assert sheet.points() == (14_400.0, 7.2)
    sheet.width = sheet.height = 40_000.0
    assert sheet.largest_scale(raster.MOST_IN_PDF) * 40_000 == pytest.approx(5000)


def test_a_title_may_hold_anything():
    pdf = pdf_of(draw(article()).png(0.2), (10, 10), ")>> \\ endobj <feff")
    assert len(stream_objects(pdf)) == 6


def test_png_and_pdf_are_saved_by_their_suffix(tmp_path):
    drawing = draw(article())
    assert isinstance(drawing, Drawing)
    assert drawing.save(tmp_path / "a.png").read_bytes() == drawing.png()
    assert drawing.save(tmp_path / "a.PDF").read_bytes()[:5] == b"%PDF-"


def test_wide_spaces_are_drawn_as_spaces():
    sheet = raster.Sheet(draw(article(), style="boxes", title="wide\u2002space\u3000"))
    assert "\\u" not in sheet.svg
    assert "wide\xa0space" in sheet.svg
