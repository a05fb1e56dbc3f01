"""Options that runs, pruning and the digest have: folders, the object store, and the block for alerts."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

ALERT_VARIABLE = "FASHION_GAN_ALERT_BLOCK"
STORE_URL_VARIABLE = "FASHION_GAN_STORE_URL"

AlertBlock = Annotated[
    Annotated[str, Field(pattern="^[a-z0-9-]+/[a-z0-9-]+$")] | None,
    BeforeValidator(lambda given: given or os.environ.get(ALERT_VARIABLE) or None),  # a form may send an empty field
]
"""A notification block of Prefect, as type/name."""

UserPath = Annotated[Path, AfterValidator(lambda given: Path(os.path.expanduser(given)))]  # noqa: PTH111
"""A path in which ~ is the home of the user whose process reads it."""


def store_url_or_default(store_url: str | None) -> str | None:
    """Return the address of the object store: the given one, else that of the environment, else None."""
    return store_url or os.environ.get(STORE_URL_VARIABLE)
