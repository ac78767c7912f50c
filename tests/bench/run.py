"""Run benches: `python tests/bench/run.py [name …]`. Each prints a table and, last, one JSON line (DESIGN §11)."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def names() -> list[str]:
    return sorted(p.stem.replace("_", "-") for p in HERE.glob("*.py") if p.stem != "run")


def main(wanted: list[str]) -> int:
    known = names()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"no bench {unknown[0]}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    codes = [
        subprocess.run([sys.executable, HERE / f"{n.replace('-', '_')}.py"], check=False).returncode
        for n in wanted or known
    ]
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
