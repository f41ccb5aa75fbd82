"""Which model becomes champion: the gate, its error rate over many looks, the decisions and their evidence.

Start at `gate.py`, which decides by what `evidence.py` has compared. Modules here may import what
`tasks.core.registry` may.
"""
