"""Write the front page of an output folder again, on the command line.

python -m gan.index --output-dir artifacts      (make index)
"""

from pathlib import Path

from gan.command import new_app, run_command, terminal, writing
from gan.config import DEFAULT_OUTPUT_DIR
from gan.report.front_page import FRONT_PAGE, write_front_page
from gan.runs.champion import check_root

app = new_app("gan.index")


@app.default
def index(*, output_dir: Path = DEFAULT_OUTPUT_DIR) -> None:
    """Write the front page of an output folder, index.html, from the published runs that are there.

    Args:
        output_dir: The output folder.
    """
    check_root(output_dir)
    with writing(output_dir / FRONT_PAGE):
        write_front_page(output_dir)
    terminal().print(str(output_dir / FRONT_PAGE))


if __name__ == "__main__":
    run_command(app)
