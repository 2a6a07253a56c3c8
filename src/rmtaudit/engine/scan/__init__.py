"""``rmtaudit scan``: from a checkpoint to its report."""
