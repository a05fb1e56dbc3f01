"""Write docs/options.md: all options of the commands, from the descriptions in the settings.

python -m flows.options
"""

import flows  # noqa: F401  # isort: skip  # sets environment variables that Prefect reads when it is imported

from typing import Any, cast

from cyclopts import App, Group
from pydantic import BaseModel

from flows import sweep_flow, train_flow
from flows.members import NOT_IN_A_SWEEP, SweepSettings
from flows.settings import RunSettings
from gan.config import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "options.md"


def describe_options() -> str:
    """Return the page in Markdown."""
    refused = ", ".join(f"`--{name.replace('_', '-')}`" for name in NOT_IN_A_SWEEP)
    return (
        "# Options\n\n`make options` writes this page from the settings' descriptions; `--help` shows them too.\n\n"
        f"## python flows/train_flow.py\n\n{_tables(train_flow.app, RunSettings)}\n"
        "## python flows/sweep_flow.py\n\nA sweep has these options, and those of a run, which apply to every "
        f"training. It refuses the options for a single run: {refused}. `--set` accepts several values for a name, "
        f"separated by commas: `--set learning_rate=4e-4,8e-4`.\n\n"
        f"{_tables(sweep_flow.app, SweepSettings, RunSettings)}"
    )


def _tables(app: App, settings: type[BaseModel], left_out: type[BaseModel] | None = None) -> str:
    """Return a table for each group of options, in the order of `--help`."""
    properties = settings.model_json_schema()["properties"]
    rows: dict[Group, list[str]] = {}
    for argument in app.assemble_argument_collection(parse_docstring=True):
        name, default = "".join(argument.keys[:1]), argument.field_info.default
        if argument.show and not (left_out and name in left_out.model_fields):
            shown = "" if default in (None, ()) else "off" if default is False else f"`{default}`"
            row = f"| `{argument.name}` | {shown} | {argument.parameter.help} | {_limits(properties.get(name, {}))} |\n"
            (group,) = cast(tuple[Group], argument.parameter.group)
            rows.setdefault(group, []).append(row)
    head = "| option | default | description | limits |\n|---|---|---|---|\n"
    groups = sorted(rows, key=lambda group: group.sort_key)
    return "\n".join(f"### {group.name}\n\n{head}{''.join(rows[group])}" for group in groups)


def _limits(schema: dict[str, Any]) -> str:
    """Describe the values that a JSON schema allows."""
    schema = schema | next((part for part in schema.get("anyOf", ()) if part["type"] != "null"), {})
    if "enum" in schema or "pattern" in schema:
        return ", ".join(f"`{choice}`" for choice in schema.get("enum", [schema.get("pattern")]))
    least = max(schema.get("minimum", 0), schema.get("exclusiveMinimum", -1) + 1)
    most = schema.get("maximum", schema.get("exclusiveMaximum", 0) - 1)
    return "" if schema.get("type") != "integer" else f"{least:,} to {most:,}" if most > 0 else f"at least {least:,}"


if __name__ == "__main__":
    PAGE.write_text(describe_options(), encoding="utf-8")
