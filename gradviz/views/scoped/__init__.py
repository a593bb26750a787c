"""The layout of last resort: DOT that gradviz wrote, laid out by scope, in time linear in its size."""

from __future__ import annotations

from gradviz.views.scoped.engine import render

__all__ = ["render"]
