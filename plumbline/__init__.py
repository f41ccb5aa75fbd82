"""Plumbline from Python: open a workspace, train, read its tables and models, predict.

    import plumbline

    workspace = plumbline.open("workspace")
    workspace.train(dataset="./photos", recipe="probe")
    workspace.table("runs")
    workspace.models("photos")
    workspace.predict(["a.jpg", "b.jpg"])

`docs/python.md` describes the five calls. This package may import `flows` and `tasks`; nothing may import it.

Start at `workspace.py`.
"""

from plumbline.workspace import Workspace
from tasks.core import __version__

__all__ = ["Workspace", "__version__", "open"]

open = Workspace.open
