"""Log-determinants by factorisations, dense and sparse, with rounding bounds."""
