"""The thinking: plain Python without Prefect, usable from a notebook or a script.

Each folder is one subject with a face of its own (its `__init__.py`). The modules directly in here are
leaves that everybody may import: errors, settings, recipes, workspace paths, progress. Start at
`stage/publish.py`, which every stage goes through, then read one stage, such as
`data/tensors/normalize.py`.
"""

__version__ = "0.2.0"
