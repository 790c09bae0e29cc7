"""Stores with one fault each, one module for each group of clauses."""
