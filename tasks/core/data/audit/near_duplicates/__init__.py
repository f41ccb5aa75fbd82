"""The search for near duplicates: a learned distance, its neighbours, and what verifies a pair.

Start at `distance.py`. Modules here may import what `tasks.core.data.audit` may.
"""
