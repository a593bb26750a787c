"""The autograd engine: recording on NumPy, and gradients."""
