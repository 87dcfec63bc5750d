"""Routers: how much each expert is heard. Constructor = hyper-parameters; `attach(bank)` looks at the experts; `forward` -> w."""
