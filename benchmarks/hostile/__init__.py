"""Files that mean harm: mutants, tricks and escapes; see benchmarks/README.md."""
