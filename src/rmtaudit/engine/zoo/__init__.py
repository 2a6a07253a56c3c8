"""``rmtaudit zoo``: the audit of many models, on many workers, of which nothing is computed twice."""
