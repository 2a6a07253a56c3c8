"""Power laws fitted to the tail of a spectrum, and how far the fit can be trusted."""
