"""Test a city's agents and agreements: in memory in milliseconds, or the same scenario on a real broker.

Modules: `bus` (agents alone), `memory` (the whole city), `scenario` (what a scenario file says and how it is played),
`real` (a city of processes).
"""
