"""``rmtaudit tails`` and ``rmtaudit forecast``: commands on a file of numbers."""
