"""A Ray cluster that a sweep's trainings run on."""

from contextlib import AbstractContextManager
from typing import Any

from prefect.task_runners import TaskRunner

from gan.errors import SettingsError

CPUS_A_TRAINING = 2


def ray_runner(address: str) -> TaskRunner[Any]:
    """Prefect's runner for Ray.

    Args:
        address: Of the cluster, as host:port, or local.

    Raises:
        SettingsError: If it is not installed.
    """
    try:
        from prefect_ray import RayTaskRunner
    except ImportError as error:
        raise SettingsError(
            "--ray needs the package prefect-ray, which is not installed.\n"
            "Install it with: make setup-ray, on every machine of the cluster."
        ) from error
    quiet = {"log_to_driver": False, "logging_level": "error"}
    runner: TaskRunner[Any] = RayTaskRunner(address=address, init_kwargs=quiet)
    return runner


def _needs(*, on_gpu: bool) -> dict[str, int]:
    """What a training holds of a node, by Ray's names."""
    return {"GPU": 1, "CPU": 1} if on_gpu else {"CPU": CPUS_A_TRAINING}


def resources_held(*, on_gpu: bool) -> AbstractContextManager[None]:
    """Within it each training that is submitted holds a GPU of the cluster, or two cores."""
    from prefect_ray.context import remote_options

    held: AbstractContextManager[None] = remote_options(
        **{f"num_{kind.lower()}s": num for kind, num in _needs(on_gpu=on_gpu).items()}
    )
    return held


def refuse_what_no_node_has(address: str, *, on_gpu: bool) -> None:
    """Ray would wait for such a node for ever, without a word.

    Args:
        address: Of the cluster, which this process is connected to.
        on_gpu: Whether a training holds a GPU.

    Raises:
        SettingsError: If no node of the cluster has room for a training.
    """
    import ray

    needs, nodes = _needs(on_gpu=on_gpu), [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(kind, 0) >= num for kind, num in needs.items()) for node in nodes):
        wanted = " and ".join(f"{num} {kind}{'s' if num > 1 else ''}" for kind, num in needs.items())
        raise SettingsError(
            f"--ray {address}: none of the cluster's {len(nodes)} nodes has {wanted}, which a training takes.\n"
            "See what ray status lists; without GPUs, leave --device gpu out."
        )
