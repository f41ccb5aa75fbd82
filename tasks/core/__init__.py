"""The thinking: plain Python, no Prefect below this line."""

__version__ = "0.1.0"
