"""Sources: anything that can be turned into a Frame."""
