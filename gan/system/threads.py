"""Threads for NumPy, which computes element by element on a single core."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

from gan.system.environment import num_processors

T = TypeVar("T")
R = TypeVar("R")

MAX_THREADS = 8
"""Limits memory: for 10,000 images a block of the judge's computations takes up to 90 MB in each thread."""


def map_in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield function(item) for each item, in order, computed on all cores at once; NumPy releases Python's lock.

    Each call runs in a single thread, so the results do not depend on the number of threads. That includes products of
    matrices: their threads would wait for each other, and take the cores meanwhile.
    """
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(min(num_processors(), MAX_THREADS)) as pool:
        yield from pool.map(function, items)
