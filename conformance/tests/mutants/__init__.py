"""Stores that are wrong in one way each, one module for each group of clauses."""
