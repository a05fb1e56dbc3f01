"""Options that runs, pruning and the digest have: folders, the object store, and the block for alerts."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from gan.config import DEFAULT_OUTPUT_DIR

ALERT_VARIABLE = "FASHION_GAN_ALERT_BLOCK"
STORE_URL_VARIABLE = "FASHION_GAN_STORE_URL"


def matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Return a function that refuses a text that does not match, with what is expected as the message."""

    def check(given: str) -> str:
        if not re.fullmatch(pattern, given):
            raise ValueError(f"should be {expected}")
        return given

    return check


BLOCK = "[a-z0-9-]+/[a-z0-9-]+"

AlertBlock = Annotated[
    Annotated[
        str,
        AfterValidator(matching(BLOCK, "type/name, such as slack-webhook/team")),
        Field(json_schema_extra={"pattern": f"^{BLOCK}$"}),  # for the form; pydantic's message shows the pattern
    ]
    | None,
    BeforeValidator(lambda given: given or os.environ.get(ALERT_VARIABLE) or None),  # a form may send an empty field
]
"""A notification block of Prefect, as type/name."""

UserPath = Annotated[Path, AfterValidator(lambda given: Path(os.path.expanduser(given)))]  # noqa: PTH111
"""A path in which ~ is the home of the user whose process reads it."""


def refuse_address(folder: Path) -> Path:
    """Return an output folder; raise ValueError if it is the address of a bucket."""
    if re.match(r"[a-z][a-z0-9+.-]*:/", str(folder)):  # Path makes one slash of two
        raise ValueError(f"--output-dir got {folder}, which is no folder. Name a bucket with --store-url.")
    return folder


OutputDir = Annotated[
    UserPath,
    BeforeValidator(lambda given: DEFAULT_OUTPUT_DIR if given == "" else given),
    AfterValidator(refuse_address),
]
"""An output folder. An empty field of a form, or an unset variable of a shell, means the default and not the working
directory."""


def store_url_or_default(store_url: str | None) -> str | None:
    """Return the address of the object store: the given one, else that of the environment, else None."""
    return store_url or os.environ.get(STORE_URL_VARIABLE)
