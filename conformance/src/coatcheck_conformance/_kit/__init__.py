"""The inside of the kit: whatever is not in ``coatcheck_conformance.__all__`` may change."""
