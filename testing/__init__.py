"""Tools for this repository alone: servers, faults, Express, types, reports, documents."""
