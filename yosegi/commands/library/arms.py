"""`yosegi library arms`: the arms that a library keeps."""

from pathlib import Path

from yosegi.commands._options import Folder, Json, say, table


def arms(library: Folder = Path("library"), as_json: Json = False) -> None:
    """List the kept arms: trained routers (`yosegi train-router`) and what searches chose (`yosegi search --keep`)."""
    from yosegi.engine.kept import arms as names
    from yosegi.engine.kept import read_arm
    from yosegi.library.store import Library

    folder = Library(library)
    present, cards = set(folder), {name: read_arm(folder, name) for name in names(folder)}
    if as_json:
        say(cards, True)
        return
    rows = [
        [
            name,
            f"merge:{card['merge']}" if card["merge"] else card["router"],
            ", ".join(one["name"] + " (gone)" * (one["name"] not in present) for one in card["experts"]),
            card["mix"],
            str(card.get("created") or "")[:16],
        ]
        for name, card in cards.items()
    ]
    table(f"{library}: {len(cards)} arms", ["name", "router or merge", "experts", "mix", "created"], rows)
