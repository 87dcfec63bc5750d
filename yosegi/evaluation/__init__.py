"""Evaluation: run tasks on a base with any experts beside it, write rows and items, and say how sure one can be."""
