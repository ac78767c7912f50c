#!/bin/sh
# Says what this machine lacks, each with the command that installs it, before minutes are spent on the rest.
set -u
python=${PYTHON:-python3}
missing=0

lacks() {
    printf 'passerelle needs %s\n  → %s\n' "$1" "$2" >&2
    missing=1
}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    lacks "Python 3.11 or later ($python is not)" "apt-get install python3"
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    lacks "Python's venv module" "apt-get install python3-venv"
fi

java=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
[ "${java:-0}" -ge 17 ] || lacks "Java 17 or later" "apt-get install openjdk-17-jre-headless"
command -v mvn >/dev/null 2>&1 || lacks "Maven, to fetch Apache Kafka" "apt-get install maven"

node=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p')
if [ "${node:-0}" -lt 20 ] || ! command -v npm >/dev/null 2>&1; then
    lacks "Node.js 20 or later and npm, to bundle what the pages are dressed with" "apt-get install nodejs npm"
fi

exit "$missing"
