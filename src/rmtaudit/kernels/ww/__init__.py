"""The numbers of WeightWatcher 0.7.7, as it computes them, with the faults that are part of them.

Used by the analyzer ``weightwatcher`` alone. Every module says where it departs from the peer. A number that
the peer cannot compute is an ``ArithmeticError`` here with the reason, never -1.
"""
