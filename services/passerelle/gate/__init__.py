"""The gate: reads proposals, decides, redacts, releases. The only one that can write to an inbox (DESIGN §6, §7).

`judge` and `policy` are pure; `state` is what one task knows; `load` and `task` speak to the broker; `worker` is the
loop.

The numbered rules that comments cite ("fence rule 2") are those of the withdrawal fence, listed in README.md.
"""
