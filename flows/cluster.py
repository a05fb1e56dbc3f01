"""A Ray cluster that a sweep's trainings run on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.task_runners import TaskRunner

from gan.errors import SettingsError

CPUS_A_TRAINING = 2


@contextmanager
def ray_cluster(address: str, *, on_gpu: bool) -> Iterator[TaskRunner[Any]]:
    """Prefect's runner for Ray; each training that is submitted holds a GPU of the cluster, or is counted as two cores.

    Args:
        address: Of the cluster, as host:port, or local.
        on_gpu: Whether a training holds a GPU.

    Raises:
        SettingsError: If Ray is not installed, or no node of the cluster has room for a training.
    """
    try:
        from prefect_ray import RayTaskRunner
        from prefect_ray.context import remote_options
    except ImportError as error:
        raise SettingsError(
            "--ray needs the package prefect-ray, which is not installed.\n"
            "Install it with: make setup-ray, on every machine of the cluster."
        ) from error
    quiet = {"log_to_driver": False, "logging_level": "error"}
    needs = {"GPU": 1, "CPU": 1} if on_gpu else {"CPU": CPUS_A_TRAINING}
    held = remote_options(**{f"num_{kind.lower()}s": num for kind, num in needs.items()})
    with held, RayTaskRunner(address=address, init_kwargs=quiet) as runner:
        _refuse_what_no_node_has(needs, address)
        yield runner


def _refuse_what_no_node_has(needs: dict[str, int], address: str) -> None:
    """Ray would wait for such a node for ever, without a word."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(kind, 0) >= num for kind, num in needs.items()) for node in nodes):
        wanted = " and ".join(f"{num} {kind}{'s' if num > 1 else ''}" for kind, num in needs.items())
        raise SettingsError(
            f"--ray {address}: none of the cluster's {len(nodes)} nodes has {wanted}, which a training takes.\n"
            "See what ray status lists; without GPUs, leave --device gpu out."
        )
