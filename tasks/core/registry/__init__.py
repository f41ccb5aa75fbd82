"""Published versions: layout on disk, aliases, the gate, promotion, retention.

Start at `registry.py` (what a version is), `gate.py` (who becomes champion) and `commits.py` (several
machines). Modules here may import `tasks.core.evaluation` and below.
"""
