"""The training stage as a flow: the deployment train-gan/gpu, which a GPU worker runs for `--train-on gpu`."""

import flows  # noqa: F401  # isort: skip  # sets environment variables that Prefect reads when it is imported

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from platform import python_version

import httpx
from prefect import flow
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL

from flows.server.cancellation import confirm_cancelled
from gan.config import ExecutionConfig, TrainConfig
from gan.errors import StoreError, describe_error
from gan.storage.locks import mark_in_use
from gan.storage.store import Store
from tasks.hand_over import GPU_LIMIT, RETRY_SECONDS, WorkerError, may_answer_later
from tasks.records import FittedExtractor, NormalizedData
from tasks.stage import refreshing, use_key_conditions
from tasks.train import train

LEASE_SECONDS = 60


@flow(
    name="train-gan",
    description="Train for a waiting run of fashion-gan; the result goes to the store that both share.",
    on_cancellation=[confirm_cancelled],
)
def gpu_flow(
    root: Path,
    data: NormalizedData,
    config: TrainConfig,
    execution: ExecutionConfig,
    extractor: FittedExtractor,
    key_conditions: str,
    cache_key: str,
    store_url: str | None = None,
    refresh: bool = False,
) -> None:
    """Run the stage `train` on this machine, one training on each GPU.

    Args:
        root: Absolute path of the output folder. With an object store, each machine has a separate folder there.
        data: References to the normalized data set.
        config: Settings that decide the result.
        execution: Settings that do not decide the result.
        extractor: The feature extractor that snapshots are judged with.
        key_conditions: The conditions in the cache keys of the waiting run, such as "2 CPUs".
        cache_key: The key under which the waiting run looks for the result.
        store_url: The object store that both machines use, if they share no folder.
        refresh: Train even if there is a cached result.
    """
    from gan.models.backend import use_device

    store = _open_shared(root, store_url, data)
    with mark_in_use(store.root), refreshing(refresh), use_key_conditions(key_conditions):
        if train.key(store, data, config, execution, extractor) != cache_key:
            raise WorkerError(
                "This worker would store the result where the waiting run does not look for it: its code, its Python "
                f"({python_version()}) or its libraries differ, and these are part of the cache key.\n"
                "Update both machines to the same commit and the same Python 3.x, then run make setup on both."
            )
        with one_gpu():
            hardware = use_device(execution.device)
            if hardware.device_type == "CPU" and execution.device != "cpu":
                get_run_logger().warning(
                    "TensorFlow sees no GPU on this worker: training on its CPU, since --device is auto. "
                    "With --device gpu this would be an error."
                )
            train(store, data, config, execution, extractor)


def _open_shared(root: Path, store_url: str | None, data: NormalizedData) -> Store:
    """Open the store of the waiting run, and check that it has the training images."""
    if store_url or root.is_dir():
        store = Store.open(root, store_url)
        if store.is_available(data.train_images):
            return store
    raise StoreError(
        f"This worker does not find the training images in {store_url or root}.\n"
        "Share the output folder, under the same path on this machine and where the run was started, or use one object "
        "store for both (--store-url)."
    )


@contextmanager
def one_gpu() -> Iterator[None]:
    """Hold one slot of the server's concurrency limit for GPUs, after waiting for it.

    The slot is a lease that is renewed: it is free a minute after its holder was killed. If the server does not answer
    for that long, the lease ends and the training continues, since a GPU worker runs one training at a time anyway.

    Raises:
        WorkerError: If the server has no such limit, or rejects the request.
    """
    away, lease = "The Prefect server does not answer (%s): ", ExitStack()
    while True:
        slot = concurrency(GPU_LIMIT, lease_duration=LEASE_SECONDS, strict=True, raise_on_lease_renewal_failure=False)
        try:
            lease.enter_context(slot)
            break
        except ConcurrencySlotAcquisitionError as error:  # Prefect wraps every failure in it
            if not may_answer_later(error.__cause__):
                raise _explain(error) from error
            get_run_logger().warning(away + "requesting a GPU again.", type(error.__cause__).__name__)
            time.sleep(RETRY_SECONDS)
    try:
        yield
    finally:
        try:
            lease.close()
        except httpx.HTTPError as error:  # not worth losing the training
            get_run_logger().warning(away + "the GPU is free when its lease ends, in a minute.", type(error).__name__)


def _explain(error: ConcurrencySlotAcquisitionError) -> WorkerError:
    cause = error.__cause__
    if cause is None:
        return WorkerError(
            f"The server has no concurrency limit {GPU_LIMIT}, which is the number of GPUs.\n"
            "Create it with: make setup-server"
        )
    return WorkerError(
        f"The Prefect server at {PREFECT_API_URL.value()} rejects the request for a GPU (its concurrency limit "
        f"{GPU_LIMIT}): {describe_error(cause)}.\n"
        "If it requires authentication, set PREFECT_API_AUTH_STRING for this worker; otherwise see the server's log. "
        "Then run the same command again."
    )
