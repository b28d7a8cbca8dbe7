"""Nodes that are about to go, such as a spot machine with a notice: workers save, and the run goes on elsewhere.

Ray Train hears of it from Ray's list of draining nodes, every five seconds, and tells all workers of the group.
"""

from ray.train.v2._internal.execution.context import get_train_context

from diptych_training.letters import Progress, Tell


def a_node_leaves() -> bool:
    """Whether a node of this worker's group is about to go. Ray's public question would be a barrier at every step."""
    return get_train_context().preemption_context.preemption_info is not None


def heeding_nodes(tell: Tell) -> Tell:
    """Return ``tell`` as the first worker uses it: it wants the group to stop when a node is about to go."""

    def told(progress: Progress) -> bool:
        return tell(progress) or a_node_leaves()

    return told
