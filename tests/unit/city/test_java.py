import stat
from pathlib import Path

import pytest

from passerelle.city import java
from passerelle_schemas.faults import Fault


def program(folder: Path, name: str, script: str) -> Path:
    """A stand-in for a program that this machine lacks, or has in another version."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def says(version: str) -> str:
    return f"echo 'openjdk version \"{version}\"' >&2"


def test_no_java_is_one_line_and_the_command_that_installs_it(tmp_path):
    with pytest.raises(java.ToolMissing) as caught:
        java.java({"PATH": str(tmp_path)})
    assert "Java 17" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint == "apt-get install openjdk-17-jre-headless"


@pytest.mark.parametrize(("version", "major"), [("1.8.0_412", 8), ("11.0.2", 11), ("16", 16)])
def test_an_old_java_is_named_with_its_version(tmp_path, version, major):
    program(tmp_path, "java", says(version))
    with pytest.raises(java.ToolMissing, match=f"is Java {major};"):
        java.java({"PATH": str(tmp_path)})


@pytest.mark.parametrize("version", ["17.0.15", "21", "25-ea"])
def test_a_java_that_is_new_enough_is_taken(tmp_path, version):
    path = program(tmp_path, "java", says(version))
    assert java.java({"PATH": str(tmp_path)}) == str(path)


def test_java_home_comes_before_the_path(tmp_path):
    old = program(tmp_path / "path", "java", says("11")).parent
    new = program(tmp_path / "home/bin", "java", says("17"))
    assert java.java({"PATH": str(old), "JAVA_HOME": str(tmp_path / "home")}) == str(new)


def test_no_maven_is_one_line_and_the_command_that_installs_it(tmp_path):
    with pytest.raises(java.ToolMissing) as caught:
        java.maven({"PATH": str(tmp_path)})
    assert caught.value.hint == "apt-get install maven"


@pytest.fixture
def kafka_dir(tmp_path, monkeypatch):
    """A pom and a Maven that leaves one jar and counts how often it was asked."""
    folder = tmp_path / "kafka"
    folder.mkdir()
    (folder / "pom.xml").write_text("<project/>")
    script = f"""echo asked >> {tmp_path}/asked
for word; do case $word in -DoutputDirectory=*) out=${{word#*=}};; esac; done
/bin/mkdir -p "$out" && : > "$out/kafka_2.13.jar" """
    program(tmp_path / "bin", "mvn", script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return folder


def asked(tmp_path: Path) -> int:
    return (tmp_path / "asked").read_text().count("asked")


def test_jars_are_fetched_once_for_each_content_of_the_pom(tmp_path, kafka_dir):
    assert list(java.jars(kafka_dir).glob("*.jar")) == list(java.jars(kafka_dir).glob("*.jar"))
    assert asked(tmp_path) == 1
    (kafka_dir / "pom.xml").write_text("<project><!-- other --></project>")
    java.jars(kafka_dir)
    assert asked(tmp_path) == 2


def test_a_failing_maven_is_told_by_its_first_error(tmp_path, kafka_dir):
    program(tmp_path / "bin", "mvn", "echo '[INFO] x'; echo '[ERROR] host not found'; echo '[ERROR] more'; exit 1")
    with pytest.raises(Fault, match="host not found") as caught:
        java.jars(kafka_dir)
    assert "\n" not in str(caught.value)
    assert not (kafka_dir / "target/libs.sha256").exists()


def test_a_folder_without_a_pom_is_named(tmp_path):
    with pytest.raises(Fault, match=r"no pom\.xml"):
        java.jars(tmp_path)
