"""A Ray cluster for the trainings of a sweep."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.task_runners import TaskRunner

from gan.errors import SettingsError

CPUS_PER_TRAINING = 2


@contextmanager
def ray_cluster(address: str, *, on_gpu: bool) -> Iterator[TaskRunner[Any]]:
    """Yield Prefect's task runner for Ray. Each training reserves a GPU if `on_gpu`, otherwise CPUS_PER_TRAINING cores.

    `address` is host:port, or local for a new cluster on this machine.

    Raises:
        SettingsError: If Ray is not installed, or no node of the cluster has the resources for a training.
    """
    try:
        from prefect_ray import RayTaskRunner
        from prefect_ray.context import remote_options
    except ImportError as error:
        raise SettingsError(
            "--ray needs the package prefect-ray, which is not installed.\n"
            "Install it with: make setup-ray, on every machine of the cluster."
        ) from error
    needs = {"GPU": 1, "CPU": 1} if on_gpu else {"CPU": CPUS_PER_TRAINING}
    reserved = remote_options(**{f"num_{resource.lower()}s": num for resource, num in needs.items()})
    quiet = {"log_to_driver": False, "logging_level": "error"}
    with reserved, RayTaskRunner(address=address, init_kwargs=quiet) as runner:
        _check_resources(needs, address)
        yield runner


def _check_resources(needs: dict[str, int], address: str) -> None:
    """Refuse resources that no node has: Ray would wait for such a node forever, silently."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(resource, 0) >= num for resource, num in needs.items()) for node in nodes):
        wanted = " and ".join(f"{num} {resource}{'s' if num > 1 else ''}" for resource, num in needs.items())
        raise SettingsError(
            f"--ray {address}: none of the cluster's {len(nodes)} nodes has {wanted}, which a training needs.\n"
            "The command ray status lists them. Without GPUs, leave out --device gpu."
        )
