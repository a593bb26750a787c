"""Pictures in which values travel on wires: the styles circuit and paper, as DOT, SVG and TikZ."""
