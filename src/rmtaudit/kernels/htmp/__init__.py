"""The high-temperature Marchenko-Pastur law HTMP(gamma, kappa), its finite ensemble, and estimates of kappa.

Hodgkinson, Wang, Mahoney, *Models of Heavy-Tailed Mechanistic Universality*, arXiv 2506.03470 (2025). For
``N`` eigenvalues the model is the beta-Laguerre ensemble with Dyson index ``beta = kappa/N``; as ``N`` grows
with ``kappa`` fixed their distribution becomes HTMP. ``gamma = N/M`` is the aspect ratio of the matrix and is
never estimated: only ``kappa/gamma`` would be.
"""
