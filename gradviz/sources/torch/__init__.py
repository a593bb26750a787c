"""The source for PyTorch: graphs and frames of its tensors, after the fact or recorded."""
