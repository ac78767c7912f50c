"""A city that is founded once in a run of tests and copied for each broker.

To format a broker's storage and to carry the manifest out takes as long as many a file of tests; a broker on a copy of
the stopped one's folder has the same users, topics and rights. A copy has the same keys and the same cluster id, which
nobody minds as long as brokers do not know of each other.
"""

import fcntl
import os
import shutil
import time
from pathlib import Path
from unittest.mock import patch

from passerelle.city import cluster
from passerelle.city.apply import City
from passerelle.city.broker import TEST_SETTINGS, Broker
from passerelle.city.manifest import Manifest
from passerelle.config import Home
from passerelle_schemas.faults import Fault

PROJECT = Path(__file__).resolve().parents[2]
KAFKA_DIR = PROJECT / "deploy/kafka"
MANIFEST = PROJECT / "deploy/city.yaml"
HEAP_MB = 512

LEADS_S_MAX = 60.0
SHORT_LIVED = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}
"""For a broker that lives a minute or two: its JVM's second compiler would cost as much as the whole run gains."""


def start_broker(home: Home, **settings: str) -> Broker:
    """Start a broker for tests, on what its home holds, and wait until it leads all of that."""
    broker = Broker.up(home, KAFKA_DIR, heap_mb=HEAP_MB, extra={**TEST_SETTINGS, **settings})
    _await_leader(broker)
    return broker


def _await_leader(broker: Broker) -> None:
    """A broker answers before it has taken its partitions up again, and until then some of them are nobody's."""
    access = broker.access("admin")
    until = time.monotonic() + LEADS_S_MAX
    for topic in cluster.connect(access).list_topics(timeout=LEADS_S_MAX).topics:
        while True:
            try:
                cluster.ends(access, topic)
                break
            except Fault:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


def found(home: Home, **settings: str) -> Broker:
    """Start a broker in an empty home and carry deploy/city.yaml out. On a fault nothing is left running."""
    broker = start_broker(home, **settings)
    try:
        City(manifest=Manifest.load(MANIFEST), home=home, admin=broker.access("admin")).apply()
    except BaseException:
        broker.down()
        raise
    return broker


def founded(folder: Path) -> Path:
    """The home of a city that was founded and stopped. Whoever asks first in a run makes it; others wait."""
    made, draft = folder / "founded", folder / "founding"
    with (folder / "founding.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
            home = Home(root=draft)
            with patch.dict(os.environ, SHORT_LIVED):
                found(home).down()
            (home.kafka / "ports.json").unlink()  # or all copies would want the same
            draft.rename(made)
    return made


def copied(made: Path, home: Home) -> None:
    """Make an empty home one of a founded city."""
    shutil.copytree(made, home.root, dirs_exist_ok=True)
