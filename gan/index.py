"""Write the front page of an output folder again, on the command line.

python -m gan.index --output-dir artifacts      (make index)
"""

from pathlib import Path

from rich.console import Console

from gan.command import new_app, run_command
from gan.errors import StoreError
from gan.report.front_page import write_front_page
from gan.runs.champion import check_root
from gan.storage.file_system import suggest_remedy

app = new_app("gan.index")


@app.default
def index(*, output_dir: Path = Path("artifacts")) -> None:
    """Write the front page of an output folder, index.html, from the published runs that are there.

    Args:
        output_dir: The output folder.
    """
    check_root(output_dir)
    try:
        written = write_front_page(output_dir)
    except OSError as error:
        raise StoreError(
            f"The front page of {output_dir} could not be written: {error.strerror or error}.\n{suggest_remedy(error)}"
        ) from error
    Console(highlight=False, soft_wrap=True).print(str(written), markup=False)


if __name__ == "__main__":
    run_command(app)
