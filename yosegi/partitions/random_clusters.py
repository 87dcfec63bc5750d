"""Random clusters: tasks in random groups, the control for clustering by similarity.

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.
"""

import random

from yosegi.errors import Invalid
from yosegi.partitions import Data, Partition


def random_clusters(data: Data, k: int = 10, *, seed: int = 42) -> Partition:
    """Shuffles the tasks and cuts them into k groups whose sizes differ by at most one task.

    Args:
        data: the examples of each task; their order does not matter.
        k: the number of groups.
        seed: seed of the shuffle.
    """
    if not 1 <= k <= len(data):
        raise Invalid(f"k={k}: {len(data)} tasks can be 1 to {len(data)} groups.")
    shuffled = sorted(data)
    random.Random(seed).shuffle(shuffled)
    few, more = divmod(len(shuffled), k)
    ends = [group * few + min(group, more) for group in range(k + 1)]
    tasks = {f"random{group}": shuffled[ends[group] : ends[group + 1]] for group in range(k)}
    return Partition.of_tasks(data, tasks, {"k": k, "seed": seed, "sizes": [len(held) for held in tasks.values()]})
