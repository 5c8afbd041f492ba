"""Destinations: the contract (contract.py), what an answer means (outcome.py), and the built-in ones."""
