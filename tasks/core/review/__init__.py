"""Review of labels by a person: what to look at, the page, its local server, and the file of decisions.

Start at `items.py`, which collects the images to look at. `past_run.py` finds the outputs of a run for it.
Modules here may import `tasks.core.runs` and below. `page.html` is the page, with its style and its script.
"""
