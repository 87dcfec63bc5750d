"""Shared: one learner for all data, the baseline of mixing.

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.
"""

from yosegi.partitions import Data, Partition


def shared(data: Data, name: str = "shared") -> Partition:
    """Returns one learner with all examples, task by task; training shuffles them."""
    return Partition.of_tasks(data, {name: tuple(data)}, {})
