"""Published versions: their layout on disk, aliases, the gate, promotion, retention.

Start at `registry.py` (what a version is), `gate.py` (when a model becomes champion) and `commits.py`
(registries that several machines share). Modules here may import `tasks.core.evaluation` and below.
"""
