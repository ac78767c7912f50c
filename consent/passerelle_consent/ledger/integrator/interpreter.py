"""What a busy integrator asks of Python's interpreter."""

import gc
import sys

COLLECT_AFTER = (100_000, 50, 100)
"""New objects before the cycle collector looks (`gc.set_threshold`). A step makes tens of thousands that go by
themselves; looked through at Python's 700, again and again, they would cost a tenth of the rate."""

SWITCH_S = 0.0005
"""How long one thread keeps the interpreter from another. A step's rows go to the database in some sixty pieces: at
Python's 5 ms a piece the database would wait for the threads that take in the next step and publish the last."""


def settle() -> None:
    """Collect seldom, leave alone what is loaded by now, and let other threads in soon."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_S)
