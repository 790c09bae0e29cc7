"""The private modules of the kit: only names in ``coatcheck_conformance.__all__`` are public."""
