"""Experts on disk: the store (Library), their cards, PEFT's format in and out, and how similar they are."""
