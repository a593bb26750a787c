"""See and debug a computation graph while it learns."""
