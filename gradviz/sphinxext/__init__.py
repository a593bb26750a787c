"""The directive ``gradviz`` for Sphinx: code that is run while a site is built, and the picture of what it has left.

``extensions = ["gradviz.sphinxext"]`` in ``conf.py`` is all it needs; it works in reStructuredText and in MyST.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.errors import MissingExtraError

try:
    import sphinx  # noqa: F401
except ImportError as missing:
    raise MissingExtraError.of("sphinx", "docs") from missing

from sphinx.errors import ConfigError

from gradviz.sphinxext.directive import OPTIONS, Picture
from gradviz.sphinxext.formats import ForBuilder
from gradviz.sphinxext.storing import Store, forget_modules, used_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.environment import BuildEnvironment

__all__ = ["Picture", "setup"]

STYLE = "gradviz-pictures.css"


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the directive, its settings, and what to do when pages come and go."""
    app.add_directive("gradviz", Picture)
    app.add_post_transform(ForBuilder)
    app.add_config_value("gradviz_base", None, "env", (str, type(None)))
    app.add_config_value("gradviz_preamble", "", "env", (str,))
    app.add_config_value("gradviz_include_source", False, "env", (bool,))
    app.add_config_value("gradviz_defaults", {}, "env", (dict,))
    app.connect("config-inited", check)
    app.connect("builder-inited", begin)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-get-outdated", without_pictures)
    app.connect("build-finished", prune)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}


def check(app: Sphinx, config: Config) -> None:
    """Refuse defaults that are no options of `draw`."""
    for name in config.gradviz_defaults:
        if name not in OPTIONS:
            raise ConfigError(f"gradviz_defaults: {name!r} is no option ({', '.join(OPTIONS)})")


def begin(app: Sphinx) -> None:
    """Note which formats the builder knows, and put the few rules that pictures need beside those of the theme."""
    forget_modules()
    app.env.gradviz_formats = list(app.builder.supported_image_types)  # type: ignore[attr-defined]
    if app.builder.format == "html":
        folder = Path(app.outdir, "_static")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STYLE).write_text(Path(__file__).with_name(STYLE).read_text("utf-8"), "utf-8")
        app.add_css_file(STYLE)


def forget(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget which pictures a page has: it is read again, or gone."""
    used_in(env).pop(page, None)


def merge(app: Sphinx, env: BuildEnvironment, pages: Iterable[str], other: BuildEnvironment) -> None:
    """Take over what another process has read."""
    used_in(env).update({page: keys for page, keys in used_in(other).items() if page in set(pages)})


def without_pictures(app: Sphinx, env: BuildEnvironment, *changes: set[str]) -> list[str]:
    """Return the pages to be read again because somebody has deleted their pictures."""
    store = Store(Path(app.doctreedir))
    return [page for page, keys in used_in(env).items() if not all(map(store.has, keys))]


def prune(app: Sphinx, error: Exception | None) -> None:
    """Delete the pictures that no page shows any more."""
    if error is None:
        keys = {key for found in used_in(app.env).values() for key in found}
        Store(Path(app.doctreedir)).prune(keys, Path(app.outdir, app.builder.imagedir or "_images"))
