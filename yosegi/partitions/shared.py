"""One learner for everything: the shared expert, and the baseline of mixing the data.

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.
"""

from yosegi.partitions import Data, Partition


def shared(data: Data, name: str = "shared") -> Partition:
    """All examples, task by task; training shuffles them."""
    return Partition({name: [example for examples in data.values() for example in examples]}, {name: tuple(data)})
