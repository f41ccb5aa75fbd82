"""Flows: what runs, one flow a file."""
