"""Tools that only the tests of this repository need: servers, faults, Express, type checks."""
