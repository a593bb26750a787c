"""The tracer: a directory of NumPy rows, one row per iteration."""
