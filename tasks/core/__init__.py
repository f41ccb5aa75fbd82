"""The thinking: plain Python, no Prefect below this line."""
