"""The page itself: the template of every section, filled with what the section works out, with style and script in one file."""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from yosegi.reporting import format as print_as
from yosegi.reporting.answers import answers
from yosegi.reporting.context import Context
from yosegi.reporting.draw.marks import LEVELS
from yosegi.reporting.read import Results
from yosegi.reporting.sections import sections

HERE = Path(__file__).parent
STYLES = (HERE.parent / "palette.css", HERE / "page.css")


def page(results: Results, other: Results | None = None) -> str:
    """Returns the HTML, with a comparison with another run if there is one. A section without data is left out."""
    modules, context = sections(), Context(results, other=other)
    context.digests = {name: [] for name, module in modules.items() if hasattr(module, "digest")}
    for of_task in answers(results, context.models):
        for name, digests in context.digests.items():
            if (digest := modules[name].digest(context, of_task)) is not None:
                digests.append(digest)
    shown = {}
    for name, module in modules.items():
        if (data := module.section(context)) is not None:
            about = {"name": name, "title": data.get("title", module.TITLE), "link": module.LINK}
            about["fold"] = getattr(module, "FOLD", False)
            shown[name] = about | {"html": render(f"sections/{name}.html.j2", **data)}
    head = shown.pop("headline")
    switches = max(len(context.boards), *(len(run.routing.get("routers") or {}) for run in results.runs))
    about = {"title": head["title"], "head": head["html"], "kicker": "yosegi report", "switches": switches}
    return render("page.html.j2", sections=list(shown.values()), **about)


def render(template: str, **data: object) -> Markup:
    """Returns a template filled with data; everything that is not markup is escaped."""
    return Markup(environment().get_template(template).render(data))


def _breakable(text: str) -> Markup:
    """Returns a name that may break after /, _, + and the like, and nowhere else."""
    return Markup(re.sub(r"(?<=[\w)])([/_+:.·-])(?=\w)", r"\1<wbr>", str(escape(text))))


@cache
def environment() -> Environment:
    """Returns the templates with the filters they use."""
    made = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    words = "number signed probability seconds cut between plural one_line text words known"
    made.filters |= {word: getattr(print_as, word) for word in words.split()} | {"breakable": _breakable}
    made.globals |= {
        # Our own three files: the only text, beside JSON that was made safe, that is not escaped.
        "style": Markup("".join(path.read_text(encoding="utf-8") for path in STYLES)),
        "script": Markup((HERE / "page.js").read_text(encoding="utf-8")),
        "LEVELS": LEVELS,
    }
    return made
