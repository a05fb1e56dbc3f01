"""The training stage alone: the deployment train-gan/gpu, which a GPU worker runs for `--train-on gpu`."""

import flows  # noqa: F401  # isort: skip  # sets what Prefect reads when it is imported

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from prefect import flow
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL

from gan.config import ExecutionConfig, TrainConfig
from gan.errors import StoreError
from gan.storage.locks import in_use
from gan.storage.store import Store
from tasks.hand_over import GPU_LIMIT, SECONDS_BETWEEN_QUESTIONS, WorkerError, may_answer_later
from tasks.records import FittedExtractor, NormalizedData
from tasks.stage import refreshing
from tasks.train import train

LEASE_SECONDS = 60


@flow(
    name="train-gan",
    description="Train for a run of fashion-gan that waits for it; its result goes to the store that both share.",
)
def gpu_flow(
    root: Path,
    data: NormalizedData,
    config: TrainConfig,
    execution: ExecutionConfig,
    extractor: FittedExtractor,
    store_url: str | None = None,
    refresh: bool = False,
) -> None:
    """Run the stage `train` on this machine, one training a GPU.

    Args:
        root: The output folder, absolute; with an object store each machine has one of its own there.
        data: The normalized data set, by reference.
        config: What decides the weights.
        execution: How training is carried out.
        extractor: The features that snapshots are judged by.
        store_url: The object store that both machines use, if they share no folder.
        refresh: Train again, though there may be a cached result.
    """
    from gan.models.backend import use_device

    store = _open_shared(root, store_url, data)
    with in_use(store.root), one_gpu(), refreshing(refresh):
        hardware = use_device(execution.device, data_parallel=execution.data_parallel)
        if hardware.device_type == "CPU" and execution.device != "cpu":
            get_run_logger().warning(
                "TensorFlow sees no GPU on this worker: training on its CPU, since --device is auto. "
                "With --device gpu this would be an error."
            )
        train(store, data, config, execution, extractor)


def _open_shared(root: Path, store_url: str | None, data: NormalizedData) -> Store:
    """The store that the run which waits has its files in.

    Raises:
        StoreError: If this machine does not see that folder or object store, or another one under its name.
    """
    if store_url or root.is_dir():
        store = Store.open(root, store_url)
        if store.is_intact(data.train_images):
            return store
    raise StoreError(
        f"This worker does not find the training images in {store_url or root}.\n"
        "Here and where the run was started the output folder must be the same, under the same path (share it), or "
        "both must use one object store (--store-url)."
    )


@contextmanager
def one_gpu() -> Iterator[None]:
    """Hold one of the GPUs, and wait for it if need be.

    It is held by a lease that is renewed: when its holder is killed it is free a minute later. A server that does not
    answer for so long costs the lease, not the training; a GPU worker takes one training at a time all the same. One
    that does not answer when it is asked for a GPU is asked again until it does, as the run that waits for us does.

    Raises:
        WorkerError: If the server does not know how many there are, or refuses.
    """
    lease = _acquire()
    try:
        yield
    finally:
        try:
            lease.close()
        except httpx.HTTPError as error:  # what was trained is worth more than a minute of a GPU
            get_run_logger().warning(
                "The Prefect server does not answer (%s): the GPU is free when its lease ends, in a minute.",
                type(error).__name__,
            )


def _acquire() -> ExitStack:
    """A GPU's lease, given back when the stack is closed."""
    lease = ExitStack()
    while True:
        held = concurrency(GPU_LIMIT, lease_duration=LEASE_SECONDS, strict=True, raise_on_lease_renewal_failure=False)
        try:
            lease.enter_context(held)
            return lease
        except ConcurrencySlotAcquisitionError as error:  # Prefect's name for everything that may go wrong there
            if not may_answer_later(error.__cause__):
                raise _explain(error) from error
            get_run_logger().warning(
                "The Prefect server does not answer (%s): asking it again for a GPU.", type(error.__cause__).__name__
            )
            time.sleep(SECONDS_BETWEEN_QUESTIONS)


def _explain(error: ConcurrencySlotAcquisitionError) -> WorkerError:
    """Why there is no GPU for us, and what to do."""
    cause = error.__cause__
    if cause is None:
        return WorkerError(
            f"The server has no concurrency limit {GPU_LIMIT}, which says how many GPUs there are.\n"
            "Make it with: make setup-server"
        )
    reason = f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"
    return WorkerError(
        f"The Prefect server at {PREFECT_API_URL.value()} was asked for a GPU (its concurrency limit {GPU_LIMIT}), and "
        f"gives none: {reason}.\n"
        "If it does not let us in, set PREFECT_API_AUTH_STRING for this worker; otherwise the server's log says more. "
        "Then run the same command again."
    )
