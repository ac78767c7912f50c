"""The programs that a broker of our own needs: a Java runtime, Maven, and the jars that deploy/kafka/pom.xml pins."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from passerelle_schemas.faults import Fault

JAVA_MAJOR_MIN = 17  # Apache Kafka 4.x brokers need it (KIP-1013)
VERSION_SECONDS_MAX = 20  # `java -version` answers in 0.1 s; a cold disk may take some
MAVEN_SECONDS_MAX = 900  # 45 MB on a slow line
MAVEN_REASON_LINES = 400  # how much of Maven's output is searched for its first error

Progress = Callable[[str], None]


def silent(_step: str) -> None:
    """Show nothing."""


class ToolMissing(Fault):
    """A program that the broker needs is not installed, or is too old."""


def java(environ: dict[str, str] | None = None) -> str:
    """Return the path of a Java runtime, 17 or later: JAVA_HOME's, else the one on PATH. Raises `ToolMissing`."""
    env = dict(os.environ) if environ is None else environ
    hint = "apt-get install openjdk-17-jre-headless"
    home = env.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    found = found or shutil.which("java", path=env.get("PATH", ""))
    if found is None:
        raise ToolMissing(f"no Java runtime found; the broker needs Java {JAVA_MAJOR_MIN} or later", hint=hint)
    major = _java_major(found)
    if major < JAVA_MAJOR_MIN:
        raise ToolMissing(f"{found} is Java {major}; the broker needs {JAVA_MAJOR_MIN} or later", hint=hint)
    return found


def _java_major(path: str) -> int:
    """Read the first number of `java -version`: 17 of "17.0.15", 8 of "1.8.0_412", 0 when it says none."""
    try:
        said = subprocess.run(  # noqa: S603 - the runtime that was just found
            [path, "-version"], capture_output=True, text=True, timeout=VERSION_SECONDS_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    return int(version[1]) if version else 0


def maven(environ: dict[str, str] | None = None) -> str:
    """Return the path of `mvn`. Raises `ToolMissing`."""
    env = dict(os.environ) if environ is None else environ
    found = shutil.which("mvn", path=env.get("PATH", ""))
    if found is None:
        raise ToolMissing("no Maven found; it fetches the broker's jars", hint="apt-get install maven")
    return found


def jars(kafka_dir: Path, progress: Progress = silent) -> Path:
    """Return the folder with the jars of ``kafka_dir/pom.xml``; fetch them once for each content of that file.

    The digest is written last, so a download cut short is taken up again. Raises `Fault` with Maven's first error.
    """
    pom = kafka_dir / "pom.xml"
    if not pom.is_file():
        raise Fault("there is no pom.xml", where=str(kafka_dir), hint="run it from the project's folder")
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()
    target = kafka_dir / "target"
    libs, stamp = target / "libs", target / "libs.sha256"
    if _fetched(libs, stamp, digest):
        return libs
    program = maven()
    target.mkdir(exist_ok=True)
    with (target / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # brokers that start at once wait for one download; it has a bound
        if not _fetched(libs, stamp, digest):
            progress("fetching the broker's jars (45 MB, once)")
            stamp.unlink(missing_ok=True)
            shutil.rmtree(libs, ignore_errors=True)
            _copy_dependencies(program, pom, libs)
            stamp.write_text(digest + "\n")
    return libs


def fetched(kafka_dir: Path) -> bool:
    """Whether the jars of ``kafka_dir/pom.xml`` are there."""
    digest = hashlib.sha256((kafka_dir / "pom.xml").read_bytes()).hexdigest()
    return _fetched(kafka_dir / "target/libs", kafka_dir / "target/libs.sha256", digest)


def _fetched(libs: Path, stamp: Path, digest: str) -> bool:
    return stamp.is_file() and stamp.read_text().strip() == digest and any(libs.glob("kafka_*.jar"))


def _copy_dependencies(program: str, pom: Path, libs: Path) -> None:
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
    try:
        done = subprocess.run(  # noqa: S603 - the Maven that was just found
            [program, "-B", "-q", "-f", str(pom), *goal],
            capture_output=True,
            text=True,
            timeout=MAVEN_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Fault(f"Maven was not done after {MAVEN_SECONDS_MAX} s", where=str(pom)) from None
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[:MAVEN_REASON_LINES]
        reason = next((line for line in lines if "ERROR" in line), f"exit code {done.returncode}")
        raise Fault(
            f"Maven could not fetch the broker's jars: {reason[:300]}",
            where=str(pom),
            hint=f"mvn -f {pom} dependency:resolve   # shows the whole story",
        )
