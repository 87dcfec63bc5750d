"""One learner a task: the private library of Ostapenko et al. 2024, arXiv:2405.11157."""

from yosegi.partitions import Data, Partition


def by_task(data: Data) -> Partition:
    """Each learner is called as its task."""
    return Partition(dict(data), {task: (task,) for task in data})
