"""How far a change of weights moves what a network returns, and the random changes it is compared with."""
