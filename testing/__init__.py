"""Tools that only this repository needs: servers, faults, Express, types, reports, documents."""
