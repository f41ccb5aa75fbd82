"""From predictions to metrics, tables, verdicts and reports."""
