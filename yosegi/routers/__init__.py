"""Routers: the weight of each expert. The constructor has the hyper-parameters, `bind` reads a bank, `forward` returns w."""
