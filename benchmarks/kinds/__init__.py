"""What a unit can be: one kind a file; `benchmarks.catalogue` names all of them."""
