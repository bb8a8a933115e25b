"""Write ``docs/templates.md`` anew, run by a maintainer after changing a template: ``python -m tools.templates_doc > docs/templates.md``."""

from firewall.engine.templates import TEMPLATES, Template

HEAD = """# The templates, line by line

Seven policies to begin with, as Firewall > Templates and `GET /api/workspace/firewall/templates` give them. Rules are tried from the top; rules that differ
only in the argument or the tool that they look at stand in one line. What comes of it is [the firewall's](firewall.md#rules) to say.
"""


def page() -> str:
    return "\n".join([HEAD, *map(_section, TEMPLATES.values())])


def _section(template: Template) -> str:
    lines: dict[tuple[str, str, str], list[str]] = {}
    for rule in template.rules:
        label, _, place = str(rule["label"]).partition(" (")
        lines.setdefault((label, str(rule["verdict"]), str(rule["notes"])), []).append(place.removesuffix(")"))
    rows = [f"| {label}{_places(places)} | {verdict} | {_cell(notes)} |" for (label, verdict, notes), places in lines.items()]
    limit = f"A key may begin {template.max_runs_per_key_per_hour} runs in an hour: a loop that takes a new run for each call ends there."
    last = f"| *otherwise* | {template.default_verdict} | No rule matched. |"
    return "\n".join(
        [f"## {template.name}\n", f"`{template.id}`. {template.description} {limit}\n", "| rule | verdict | why |", "|---|---|---|", *rows, last, ""]
    )


def _places(places: list[str]) -> str:
    named = [f"`{place}`" for place in places if place]
    return f": {', '.join(named)}" if named else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
