"""Where a deployment's run finds the project: the pull step of prefect.yaml."""

from tasks.code_identity import PROJECT_ROOT


def enter_project() -> dict[str, str]:
    """Go to the project's root, wherever this machine has it installed, and resolve relative paths from there."""
    return {"directory": str(PROJECT_ROOT)}
