"""Values of options as text: seeds such as 0-4, and changes of a recipe's card such as learning_rate=1e-4."""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from gan.config import SEED_LIMIT
from gan.errors import SettingsError
from gan.recipe import Recipe

SEEDS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")

FIXED_FIELDS = frozenset({"name", "paper", "algorithm", "layers", "steps", "batch_size"})
"""Fields that --set cannot change: they define the recipe, or have their own options."""


def parse_overrides(settings: Sequence[str]) -> dict[str, list[str]]:
    """Split settings, name=value or name=value,value for a sweep, into names and values; [1,2] is one value.

    Raises SettingsError if a setting has another form, or a name occurs twice.
    """
    found: dict[str, list[str]] = {}
    for setting in settings:
        given, _, together = setting.partition("=")
        name, values = given.strip().replace("-", "_"), re.split(r",(?![^\[]*\])", together)
        if not (name and all(value.strip() for value in values)):
            raise SettingsError(f"--set got {setting!r}; it expects name=value, such as learning_rate=1e-4.")
        if name in found:
            raise SettingsError(f"--set names {name} twice; a sweep takes all its values at once, with commas between.")
        found[name] = [value.strip() for value in values]
    return found


def override(recipe: Recipe, changes: Mapping[str, str]) -> Recipe:
    """Return a recipe with other values on its card, but the same name.

    `changes` has JSON values by field, such as {"learning_rate": "1e-4"}. Raises SettingsError if a recipe has no such
    field, or the field cannot have that value.
    """
    for name, value in changes.items():
        if name not in Recipe.model_fields or name in FIXED_FIELDS:
            fields = ", ".join(field for field in Recipe.model_fields if field not in FIXED_FIELDS)
            meant = "".join(f" Did you mean {field}?" for field in get_close_matches(name, fields.split(", "), n=1))
            raise SettingsError(
                f"--set got {name}={value}, but a recipe has no {name} to set.{meant} It has: {fields}."
            )
    try:
        values = {name: _parse(value) for name, value in changes.items()}
        if any(isinstance(value, bool) for value in values.values()):
            raise ValueError("true and false are not numbers")
        card = recipe.model_dump() | values
        if not (card["num_classes"] or card["num_groups"]) and "mismatch_weight" not in values:
            card["mismatch_weight"] = 0.0  # mismatches need conditions
        return Recipe.model_validate(card)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        names = [str(detail["loc"][0])] if detail["loc"] else list(changes)
        given = ", ".join(f"{name}={changes[name]}" for name in names)
        is_tuple = detail["type"] == "tuple_type"
        message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
        problem = "expected numbers, as in [512,256]" if is_tuple else message
        raise SettingsError(f"--set got {given}: {problem}.") from error
    except ValueError as error:
        given = ", ".join(f"{name}={value}" for name, value in changes.items())
        raise SettingsError(f"--set got {given}; each value is a number, or numbers as in [512,256].") from error


def _parse(value: str) -> Any:
    """Return a JSON value, or a number as people write it (.0004)."""
    try:
        return json.loads(value)
    except ValueError:
        return float(value)


def parse_seeds(given: str, *, most: int) -> list[int]:
    """Return the seeds that a text such as "0-4" or "0,3,7-9" names, without duplicates.

    Raises:
        SettingsError: If it is no such text, or a range has more than `most` seeds.
    """
    seeds: dict[int, None] = {}
    for part in given.split(","):
        match = SEEDS.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < SEED_LIMIT:
            raise SettingsError(f"--seeds got {given!r}; it expects seeds as in 0-4 or 0,3,7-9, all below 2^31.")
        if last - first >= most:
            raise SettingsError(f"--seeds got {given!r}; it may name {most} seeds at most. Give fewer.")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return list(seeds)
