"""What is said when a training step does not fit into the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dgafvsr.errors import ResourceError
from dgafvsr.models.out_of_memory import is_out_of_memory
from dgafvsr.training.settings import TrainerConfig

__all__ = ["explained_memory"]


@contextmanager
def explained_memory(name: str, config: TrainerConfig) -> Iterator[None]:
    """Turns a full memory into one message that says which settings need less.

    Args:
        name: of the phase.
        config: of the phase.

    Raises:
        ResourceError: the memory is full.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        smaller = "" if config.gradient_checkpointing else ", or gradient_checkpointing=true"
        raise ResourceError(
            f"the memory is full while training {name}",
            got=f"{config.micro_batch or config.batch_size} samples at once",
            remedy=f"set a smaller micro_batch{smaller}, which change nothing that is learned, and go on with --resume",
        ) from error
