"""Class activation maps: where in a picture the features lie that voted for a class.

Start at `saliency.py`, the stage. Modules here may import `tasks.core.model.inference` and what that may
import.
"""
