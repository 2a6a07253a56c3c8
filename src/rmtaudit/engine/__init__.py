"""How a scan is carried out: settings, memory, threads, and the report they end in."""
