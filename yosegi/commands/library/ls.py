"""`yosegi library ls`: the experts of a library."""

from pathlib import Path

from yosegi.commands._options import Folder, Json, say, table


def ls(library: Folder = Path("library"), as_json: Json = False) -> None:
    """List the experts."""
    from yosegi.library.store import Library

    cards = Library(library).cards()
    if as_json:
        say(cards, True)
        return
    rows = [
        [
            name,
            ", ".join(card.get("task") or []),
            str(card.get("base") or "?"),
            str(card.get("rank")),
            str(card.get("init") or (card.get("training") or {}).get("merge") or ""),
            str(card.get("created") or "")[:16],
        ]
        for name, card in cards.items()
    ]
    table(f"{library}: {len(cards)} experts", ["name", "task", "base", "rank", "made by", "created"], rows)
