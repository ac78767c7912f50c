"""A new city: a manifest, two departments, one event between them, and all that a broker of its own needs."""

from pathlib import Path

from passerelle.city.manifest import Manifest
from passerelle.scaffold.department import new_department
from passerelle.scaffold.files import missing_folders, template, undo, write
from passerelle.scaffold.rule import new_rule
from passerelle_schemas.faults import Fault

KAFKA_FILES = ("pom.xml", "server.properties", "log4j2.xml")
DESK, WORKS, EVENT = "citizen-desk", "roads", "request-filed"
FOLDERS = (f"contracts/{DESK}", f"agreements/{DESK}", "flows", "scenarios", "kafka")


def new_city(folder: Path, ident: str, *, fr: str, en: str) -> list[Path]:
    """Write a city into ``folder``. Raises `Fault`; then nothing of it stays."""
    folders = missing_folders(folder / name / "any" for name in FOLDERS)
    written = write(_files(folder, ident, fr=fr, en=en))
    try:
        manifest = Manifest.load(folder / "city.yaml")
        written += new_department(manifest, DESK, fr="Accueil des usagers", en="Citizen desk", event=EVENT)
        _name_desk(folder / "city.yaml")
        manifest = Manifest.load(folder / "city.yaml")
        written += new_rule(manifest, event=f"{DESK}.{EVENT}.v1", to=WORKS)
    except BaseException:  # Ctrl-C as well
        undo(written, folders)
        raise
    return written


def _name_desk(path: Path) -> None:
    """Once the department is there, citizens speak through its pages."""
    path.write_text(path.read_text("utf-8").replace(f"# desk: {DESK}", f"desk: {DESK}", 1), "utf-8")


def _files(folder: Path, ident: str, *, fr: str, en: str) -> dict[Path, str]:
    module = f"{ident.replace('-', '_')}_agents"
    words = {"id": ident, "fr": fr, "en": en, "module": module}
    return {
        folder / "city.yaml": template("city/city.yaml", **words),
        folder / "README.md": template("city/README.md", **words),
        folder / ".gitignore": ".passerelle/\nkafka/target/\n__pycache__/\n",
        folder / "contracts/ids.lock.yaml": template("city/ids.lock.yaml"),
        folder / "flows/.gitkeep": "",
        folder / "agreements/.gitkeep": "",
        folder / f"{module}.py": template("city/agents.py.txt", **words),
        **{folder / "kafka" / name: (_kafka() / name).read_text("utf-8") for name in KAFKA_FILES},
    }


def _kafka() -> Path:
    """The broker's files: in an installed package, or in the project's own folder."""
    here = Path(__file__).resolve()
    for folder in (here.parents[1] / "city/kafka", here.parents[3] / "deploy/kafka"):
        if (folder / KAFKA_FILES[0]).is_file():
            return folder
    raise Fault("this installation lacks the broker's files", hint="pip install --force-reinstall passerelle")
