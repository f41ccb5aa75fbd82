"""What decides a stage's output, and publishing it: ingredients, code hash, handles, the table of the stages.

Start at `stages.py` (which stages there are), then `publish.py` (how an output comes into being). Modules
here may import `tasks.core.storage` and the leaf modules.
"""
