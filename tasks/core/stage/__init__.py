"""What decides a stage's output, and publishing it: ingredients, code hash, handles, the table of the stages.

Start at `stages.py` (the stages; `stage.py` says what one is), then `publish.py` (how an output is built and
published). Modules here may import `tasks.core.storage` and the leaf modules.
"""
