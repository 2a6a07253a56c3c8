"""Known initialisations, recognised by value: orthogonal, identity-like, sparse, and independent entries."""
