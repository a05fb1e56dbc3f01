"""Pin published runs, so that pruning never removes them, on the command line.

python -m gan.keep NAME ... --output-dir artifacts      (make keep RUN=NAME)
"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gan.command import new_app, run_command, terminal, writing
from gan.config import DEFAULT_OUTPUT_DIR
from gan.runs.champion import check_root
from gan.runs.retention import PINNED, pin, read_pinned

app = new_app("gan.keep")


@app.default
def keep(
    run: str, *others: str, undo: Annotated[bool, Parameter(negative=())] = False, output_dir: Path = DEFAULT_OUTPUT_DIR
) -> None:
    """Pin published runs, so that pruning never removes them.

    Args:
        run: Name of a run: a folder in runs/ of the output folder.
        others: Names of more runs.
        undo: Unpin the runs instead.
        output_dir: The output folder.
    """
    check_root(output_dir)
    with writing(output_dir / PINNED):
        pin(output_dir, run, *others, unpin=undo)
    names = ", ".join(read_pinned(output_dir)) or "none"
    terminal().print(f"Kept   {names}")


if __name__ == "__main__":
    run_command(app)
