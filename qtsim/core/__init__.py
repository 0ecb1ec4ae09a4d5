"""The decision core: compiled, without I/O, clock, pandas or randomness. It decides and never acts."""
