"""Check that docs/options.md is what `make options` writes, and that it lists every option."""

import re

from flows.members import SweepSettings
from flows.options import PAGE, describe_options
from flows.settings import RunSettings


def test_the_page_of_options_is_what_the_command_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == describe_options(), "Run make options."


def test_every_setting_is_an_option_with_a_description() -> None:
    rows = re.findall(r"^\| `--([a-z-]+)` \| (.*) \| (.+) \| (.*) \|$", describe_options(), re.MULTILINE)
    settings = [*RunSettings.model_fields, "serve", "time-zone", *SweepSettings.model_fields]
    assert sorted(option for option, *_ in rows) == sorted(name.replace("_", "-") for name in settings)
    assert all(description.strip() not in ("", "None") for _, _, description, _ in rows)


def test_limits_are_those_of_the_settings() -> None:
    page = describe_options()
    assert re.search(r"`--num-samples` .* \| 100 to 60,000 \|", page)
    assert re.search(r"`--seed` .* \| 0 to 2,147,483,647 \|", page)
    assert re.search(r"`--sample-every` .* \| at least 1 \|", page)
    assert re.search(r"`--train-on` .* \| `here`, `gpu` \|", page)
