"""Masks: which entries of the update survive. A mask acts on the update, not on the gradient: under AdamW, weight decay and
stale momentum move entries whose gradient is zero.
"""
