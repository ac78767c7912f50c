"""``python -m passerelle.cli``: the same as the command `passerelle`."""

from passerelle.cli import main

main()
