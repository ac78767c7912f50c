"""First files: a city, a department, a rule with its agreement, flow and scenario. What is made passes its own tests.

Templates stand in `templates/`; `files` writes them, all or none, and never over something that is there.
"""
