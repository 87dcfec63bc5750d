"""`yosegi library show`: all that is known of one expert."""

from yosegi.commands._options import ExpertName, Folder, say


def show(library: Folder, name: ExpertName) -> None:
    """Print the card of one expert, as JSON."""
    from yosegi.library.store import Library

    say(Library(library).card(name), True)
