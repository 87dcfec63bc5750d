"""Tasks in groups that mean nothing: what clustering by likeness has to beat.

The control of Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.
"""

import random

from yosegi.errors import Invalid
from yosegi.partitions import Data, Partition


def random_clusters(data: Data, k: int = 10, *, seed: int = 42) -> Partition:
    """The tasks are shuffled and cut into k groups, whose numbers of tasks differ by one at most.

    Args:
        data: in any order; the same tasks and seed are always the same groups.
        k: how many groups.
        seed: of the shuffle.
    """
    if not 1 <= k <= len(data):
        raise Invalid(f"k={k}: {len(data)} tasks can be 1 to {len(data)} groups.")
    shuffled = sorted(data)
    random.Random(seed).shuffle(shuffled)
    few, more = divmod(len(shuffled), k)
    ends = [group * few + min(group, more) for group in range(k + 1)]
    tasks = {f"random{group}": tuple(shuffled[ends[group] : ends[group + 1]]) for group in range(k)}
    groups = {name: [example for task in held for example in data[task]] for name, held in tasks.items()}
    return Partition(groups, tasks, {"k": k, "seed": seed, "sizes": [len(held) for held in tasks.values()]})
