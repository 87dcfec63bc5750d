"""The sections of the page, one a file: NAME.py works out what NAME.html.j2 shows. To add one, write both and name it in ORDER.

A section has a TITLE, a LINK (its word in the navigation, or "" for none), FOLD where it is closed until it is opened, and

    section(context) -> dict | None        what its template needs; None leaves the section out
    digest(context, answers) -> Any        where it needs the answers themselves: what to keep of one task's; None keeps nothing.
                                           `context.digests[NAME]` has what was kept, since the answers do not fit into memory
"""

import importlib
from types import ModuleType

ORDER = (
    "headline",
    "against",
    "findings",
    "leaderboard",
    "comparisons",
    "forgetting",
    "pairs",
    "questions",
    "ledger",
    "extraction",
    "examples",
    "training",
    "validation",
    "routing",
    "similarity",
    "cards",
    "costs",
    "setting",
)
"""From top to bottom. The headline stands above the navigation."""


def sections() -> dict[str, ModuleType]:
    """Returns the module of every section, by its name."""
    return {name: importlib.import_module(f"{__name__}.{name}") for name in ORDER}
