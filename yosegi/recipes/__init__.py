"""Recipes: one runnable claim a file. `Config` holds its fields, `SMOKE` its smallest version, `main(config, run)` does it."""
