"""`passerelle init`, `passerelle department`, and `passerelle agents new`: first files that pass their own tests."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Departments: new.", no_args_is_help=True)

SLUG = r"^[a-z][a-z0-9-]{0,40}$"

French = Annotated[str | None, typer.Option("--fr", help="Its name in French; otherwise the id.", metavar="NAME")]
English = Annotated[str | None, typer.Option("--en", help="Its name in English; otherwise the id.", metavar="NAME")]


def init(
    city: Annotated[str, typer.Argument(help="The city's id: lower-case letters, digits, hyphens.")],
    *,
    folder: Annotated[Path | None, typer.Option("--into", help="Otherwise ./<city>.", metavar="FOLDER")] = None,
    fr: French = None,
    en: English = None,
) -> None:
    """Make a new city: a manifest, two departments, an agreement between them, a rule and its scenario."""
    from passerelle.scaffold.city import new_city

    into = folder or Path(city)
    written = new_city(into, _slug(city), fr=_name(fr, city), en=_name(en, city))
    _show(written, then=f"cd {into} && passerelle city lint --lock && passerelle agents test scenarios/*.yaml")


@app.command("new")
def department(
    department: Annotated[str, typer.Argument(help="Its id: lower-case letters, digits, hyphens.")],
    *,
    fr: French = None,
    en: English = None,
    event: Annotated[
        str | None, typer.Option(help="An event that it publishes: a contract to start from.", metavar="NAME")
    ] = None,
) -> None:
    """Add a department to the city, with its first event if it publishes one."""
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.scaffold.department import new_department

    manifest = Manifest.load(settings().manifest_path)
    written = new_department(
        manifest,
        _slug(department),
        fr=_name(fr, department),
        en=_name(en, department),
        event=None if event is None else _slug(event),
    )
    _show(written, then="passerelle city lint")


def rule(
    events: Annotated[
        list[str], typer.Argument(help="What departments publish: <department>.<event>.v<n>.", metavar="EVENT…")
    ],
    *,
    to: Annotated[str, typer.Option(help="The department that is to receive it.", metavar="DEPARTMENT")],
    join: Annotated[
        str | None, typer.Option(help="Bring several events together, as a new one of this name.", metavar="NAME")
    ] = None,
    aggregate: Annotated[
        str | None, typer.Option(help="Count one kind of event, as a new one of this name.", metavar="NAME")
    ] = None,
    window: Annotated[
        str | None, typer.Option(help="Of a join or an aggregate: P7D, PT12H, … (ISO 8601).", metavar="TIME")
    ] = None,
) -> None:
    """Make a rule with its agreements (on consent), flow and scenario: a route, a join, or an aggregate.

    A route of one event; a join of the newest of several, or with --window of those that happened within it; an
    aggregate of all of one kind in each window, with --aggregate and --window.
    """
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.scaffold.aggregate import new_aggregate
    from passerelle.scaffold.join import new_join
    from passerelle.scaffold.rule import new_rule
    from passerelle.scaffold.windows import span

    if join is None and len(events) > 1:
        raise typer.BadParameter("several events are a join: name what comes of them, --join NAME")
    if join is not None and aggregate is not None:
        raise typer.BadParameter("a rule is a join or an aggregate")
    if (join is None and window is not None) != (aggregate is not None):
        raise typer.BadParameter("an aggregate has a name and a window: --aggregate NAME --window P7D")
    within = None if window is None else span(window)
    manifest = Manifest.load(settings().manifest_path)
    if join is not None:
        written = new_join(manifest, _slug(join), events=events, to=to, window=within)
    elif aggregate is not None and within is not None:
        written = new_aggregate(manifest, _slug(aggregate), event=events[0], to=to, window=within)
    else:
        written = new_rule(manifest, event=events[0], to=to)
    _show(written, then="passerelle city lint --lock && passerelle agents test scenarios/*.yaml")


def _slug(text: str) -> str:
    import re

    if not re.fullmatch(SLUG, text):
        raise typer.BadParameter(f"{text!r} is not an id: lower-case letters, digits and hyphens, a letter first")
    return text


def _name(given: str | None, ident: str) -> str:
    name = given or ident.replace("-", " ").capitalize()
    if not name.strip() or any(c in name for c in '"\\\n{}'):
        raise typer.BadParameter("a name is one line without quotes, braces and backslashes")
    return name


def _show(written: list[Path], *, then: str) -> None:
    here = Path.cwd()
    for path in dict.fromkeys(written):
        typer.echo(f"wrote {path.relative_to(here) if path.is_relative_to(here) else path}")
    typer.echo(f"  → {then}")
