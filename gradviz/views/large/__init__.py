"""Graphs with more nodes than anybody reads at once: laid out by scope, as SVG and as a page to look around in."""
