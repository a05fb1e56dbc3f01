"""The pull step of prefect.yaml, which gives a worker the folder of the project."""

from gan.config import PROJECT_ROOT


def enter_project() -> dict[str, str]:
    """Return the project's root on this machine as the working directory of a run, which resolves relative paths."""
    return {"directory": str(PROJECT_ROOT)}
