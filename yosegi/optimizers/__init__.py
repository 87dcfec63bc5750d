"""Optimizers: parameters -> torch.optim.Optimizer, whose state survives save and resume bit for bit."""
