"""Which model becomes champion: the gate, its error rate over many looks, the decisions and their evidence.

Start at `gate.py`. Modules here may import what `tasks.core.registry` may.
"""
