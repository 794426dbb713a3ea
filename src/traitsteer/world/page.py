"""One self-contained HTML page from a template, and how numbers are written in it.

The home of jinja2, but for chat templates. Everything that a template is given is escaped unless it
is Markup, and a name that the template asks for and was not given is an error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from traitsteer.words.findings import bounds, number, signed
from traitsteer.world.figures.plot_style import words


def svg(text: str) -> Markup:
    """Vouch for a figure that this package drew, so that it is not escaped."""
    return Markup(text)


def render(template: Path, values: Mapping[str, Any]) -> str:
    """Fill a template, with autoescape on."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "signed": signed,
        "bounds": bounds,
        "words": words,
    }
    return environment.get_template(template.name).render(values) + "\n"
