"""An animation as pixels: GIF and WebP, one palette for all frames and no dithering."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from gradviz.errors import GradvizValueError, MissingExtraError
from gradviz.style import Options
from gradviz.views.motion.film import Film, Mover
from gradviz.views.motion.flows import point_on
from gradviz.views.svg import SCALE

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["reel"]

MOST_FRAMES = 600
MOST_PIXELS = 400_000_000  # of all frames together
FINE = 4  # a dot is painted so many times larger and made smaller, for a smooth edge
COLOURS = 255
SAMPLES = 12  # pictures from which the palette is made


@dataclass(frozen=True, slots=True)
class Still:
    """One picture as what makes PNG takes it."""

    svg: str
    options: Options


def reel(film: Film, suffix: str, *, loop: bool, fps: float, scale: float) -> bytes:
    """Return the animation as .gif or .webp; the same bytes for the same animation and version of Pillow.

    Raises `MissingExtraError` without Pillow and `GradvizValueError` for more than 600 frames or 400 million pixels.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError.of("Pillow", "motion") from error
    times = schedule(film, fps)
    check(film, len(times), scale)
    pictures = list(Painter(film, scale, Image).frames(times))
    durations = [round(1000 * seconds) for _, _, seconds in times]
    return encoded(pictures, durations, suffix, Image, loop=loop)


def schedule(film: Film, fps: float) -> list[tuple[int, float, float]]:
    """Return every frame: its moment, how far what moves has come (0 to 1), and how many seconds it stays."""
    found = []
    for number, moment in enumerate(film.moments):
        count = max(2, round(moment.seconds * fps)) if moment.flows else 1
        found += [(number, (place + 0.5) / count, moment.seconds / count) for place in range(count)]
    return found


def check(film: Film, count: int, scale: float) -> None:
    """Raise GradvizValueError where the frames would be too many or too large."""
    wide, high = (side * SCALE * scale for side in film.size)
    if count > MOST_FRAMES or count * wide * high > MOST_PIXELS:
        raise GradvizValueError(
            f"{count:,} frames of {wide:,.0f} by {high:,.0f} pixels are too many",
            hint="save(path, scale=0.5), animate(..., fps=5), or .svg, which has no frames",
        )


class Painter:
    """Paints frames: every moment once, and on it what moves."""

    def __init__(self, film: Film, scale: float, image: Any) -> None:
        self.film = film
        self.scale = scale
        self.zoom = scale * SCALE
        self.image = image
        self.movers: defaultdict[int, list[Mover]] = defaultdict(list)
        for mover in film.movers:
            self.movers[mover.moment].append(mover)

    def frames(self, times: list[tuple[int, float, float]]) -> Iterator[Any]:
        """Yield every frame."""
        last, ground = -1, None
        for number, share, _ in times:
            if number != last:
                last, ground = number, self.ground(number)
            yield self.with_dots(ground, number, share)

    def ground(self, number: int) -> Any:
        """Return the picture of a moment."""
        from gradviz.views.raster import to_png

        data = to_png(cast("Drawing", Still(self.film.still(number), self.film.options)), self.scale)
        return self.image.open(io.BytesIO(data)).convert("RGB")

    def with_dots(self, ground: Any, number: int, share: float) -> Any:
        """Return a picture with what moves painted on it."""
        movers = self.movers[number]
        if not movers:
            return ground
        from PIL import ImageDraw

        found = ground.copy()
        size = max(3, round(self.film.dot * self.zoom)) | 1
        mask = self.image.new("L", (size * FINE, size * FINE))
        ImageDraw.Draw(mask).ellipse((0, 0, size * FINE - 1, size * FINE - 1), fill=255)
        mask = mask.resize((size, size), self.image.Resampling.LANCZOS)
        eased = share * share * (3 - 2 * share)
        for mover in movers:
            x, y = point_on(mover.path, 1 - eased if mover.back else eased)
            left, top = self.film.offset
            corner = round((x + left) * self.zoom - size / 2), round((y + top) * self.zoom - size / 2)
            found.paste(self.image.new("RGB", (size, size), mover.colour), corner, mask)
        return found


def encoded(pictures: list[Any], durations: list[int], suffix: str, image: Any, *, loop: bool) -> bytes:
    """Return the frames as one file."""
    stream = io.BytesIO()
    if suffix == ".webp":
        first, *rest = pictures
        look = {"lossless": True, "method": 3, "loop": 0 if loop else 1}
        first.save(stream, "WEBP", save_all=True, append_images=rest, duration=durations, **look)
        return stream.getvalue()
    palette = shared_palette(pictures, image)
    first, *rest = [picture.quantize(palette=palette, dither=image.Dither.NONE) for picture in pictures]
    again = {"loop": 0} if loop else {}
    first.save(stream, "GIF", save_all=True, append_images=rest, duration=durations, optimize=False, **again)
    return stream.getvalue()


def shared_palette(pictures: list[Any], image: Any) -> Any:
    """Return a palette with the colours of all frames."""
    step = max(1, len(pictures) // SAMPLES)
    some = [*pictures[::step], pictures[-1]]
    wide, high = some[0].size
    sheet = image.new("RGB", (wide, high * len(some)))
    for number, picture in enumerate(some):
        sheet.paste(picture, (0, number * high))
    palette = sheet.quantize(COLOURS, method=image.Quantize.MEDIANCUT, dither=image.Dither.NONE)
    colours, ground = palette.getpalette(), palette.getpixel((0, 0))
    colours[3 * ground : 3 * ground + 3] = sheet.getpixel((0, 0))  # paper stays as white as it is
    palette.putpalette(colours)
    return palette
