"""Log-determinants: the planner, and the methods that it chooses from."""
