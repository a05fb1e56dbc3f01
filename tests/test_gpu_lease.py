"""A training acquires a GPU from the server's concurrency limit, and errors say why it gets none."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from builders import put_data, put_extractor
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

from flows import gpu_flow
from flows.gpu_flow import one_gpu
from gan.config import ExecutionConfig
from gan.errors import DataError
from tasks.hand_over import GPU_LIMIT, WorkerError

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def gpu() -> Iterator[None]:
    """Set the server's limit to one GPU."""
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(GPU_LIMIT, 1)
        yield
        client.delete_global_concurrency_limit_by_name(GPU_LIMIT)


def gpus_in_use() -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(GPU_LIMIT).active_slots


def test_the_second_of_two_trainings_gets_the_gpu_when_the_first_is_done(gpu: None) -> None:
    has_it, may_go = (threading.Event(), threading.Event()), threading.Event()

    def train(number: int) -> None:
        with one_gpu():
            has_it[number].set()
            may_go.wait(60)

    first, second = (threading.Thread(target=train, args=(number,), daemon=True) for number in (0, 1))
    first.start()
    assert has_it[0].wait(60)
    second.start()
    assert not has_it[1].wait(2)
    assert gpus_in_use() == 1
    may_go.set()
    assert has_it[1].wait(60)
    for thread in (first, second):
        thread.join(60)
    assert gpus_in_use() == 0


def ask_for_a_gpu() -> None:
    """Acquire a GPU as a run does."""
    with one_gpu():
        assert gpus_in_use() == 1


def test_without_a_limit_on_the_server_the_error_says_how_to_create_it() -> None:
    with pytest.raises(WorkerError, match=r"has no concurrency limit gpu.*\n.*make setup-server"):
        flow(name="gpu")(ask_for_a_gpu)()


def failing(monkeypatch: pytest.MonkeyPatch, *causes: Exception) -> list[Exception]:
    """Let Prefect fail once for each cause before it succeeds. Return the list of causes that are left."""
    left, whole = list(causes), gpu_flow.concurrency

    @contextmanager
    def concurrency(*args, **kwargs):
        if left:
            raise ConcurrencySlotAcquisitionError("Unable to acquire concurrency slots on ['gpu']") from left.pop(0)
        with whole(*args, **kwargs):
            yield

    monkeypatch.setattr(gpu_flow, "concurrency", concurrency)
    monkeypatch.setattr(gpu_flow, "RETRY_SECONDS", 0.01)
    return left


def answer(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:4200/api/v2/concurrency_limits/increment-with-lease")
    return httpx.HTTPStatusError(f"{status} for url", request=request, response=httpx.Response(status, request=request))


def test_a_worker_whose_result_the_waiting_run_would_not_find_does_not_train(gpu: None, store, tiny_config) -> None:
    data, extractor = put_data(store, np.zeros((2, 28, 28, 1), np.float32)), put_extractor(store)
    cpu = ExecutionConfig(device="cpu")
    with pytest.raises(WorkerError, match=r"its code, its Python \(3.* differ.*\n.*the same commit"):
        gpu_flow.gpu_flow(store.root, data, tiny_config, cpu, extractor, key_conditions="2 CPUs", cache_key="0" * 64)
    assert not list(store.root.glob("scratch/*"))


def test_a_request_to_an_absent_or_busy_server_is_repeated(gpu: None, monkeypatch) -> None:
    left = failing(monkeypatch, httpx.ConnectError("refused"), httpx.ReadTimeout("late"), answer(503), answer(429))
    flow(name="gpu")(ask_for_a_gpu)()
    assert not left


def test_a_server_that_is_away_at_the_end_does_not_fail_the_training(gpu: None, monkeypatch) -> None:
    whole = gpu_flow.concurrency

    @contextmanager
    def concurrency(*args, **kwargs):
        with whole(*args, **kwargs):
            yield
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(gpu_flow, "concurrency", concurrency)
    flow(name="gpu")(ask_for_a_gpu)()

    def fail() -> None:
        with one_gpu():
            raise DataError("the error of the training is reported")

    with pytest.raises(DataError, match="the error of the training"):
        flow(name="gpu")(fail)()


@pytest.mark.parametrize(
    ("cause", "words"),
    [(answer(401), r"HTTPStatusError: 401.*\n.*PREFECT_API_AUTH_STRING"), (KeyError("lease"), "KeyError: 'lease'")],
)
def test_a_rejected_request_for_a_gpu_is_an_error_with_the_reason(monkeypatch, cause: Exception, words: str) -> None:
    left = failing(monkeypatch, cause, httpx.ConnectError("not reached"))
    with pytest.raises(WorkerError, match=f"rejects the request for a GPU.*{words}") as caught:
        flow(name="gpu")(ask_for_a_gpu)()
    assert "has no concurrency limit" not in str(caught.value)
    assert len(left) == 1
