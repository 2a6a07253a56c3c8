"""Seeded inputs that are hard on the numerics: they state the rate of wrong answers."""
