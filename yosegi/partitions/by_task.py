"""By task: one learner for each task, the private library of Ostapenko et al. 2024, arXiv:2405.11157."""

from yosegi.partitions import Data, Partition


def by_task(data: Data) -> Partition:
    """Returns learners with the names of their tasks."""
    return Partition.of_tasks(data, {task: (task,) for task in data}, {})
