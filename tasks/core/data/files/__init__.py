"""Which files a source has: their stat, their SHA-256, the listing that is kept of them.

Start at `listing.py`. Modules here may import `tasks.core.stage` and `tasks.core.storage`.
"""
