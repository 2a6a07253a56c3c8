"""``rmtaudit doctor``: what this installation can do, and what is missing."""
