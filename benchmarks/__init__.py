"""How fast Portico is, measured beside what it is compared with: ``python -m benchmarks``."""
