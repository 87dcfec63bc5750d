"""`yosegi library …`: the experts and arms on disk, one verb a file."""

from yosegi.commands._verbs import verbs

app = verbs(__path__, __name__, help="The experts and arms on disk: list, take in, give out, compare, delete.")
