"""How fast training is, beside its peers and the machine's limit: python -m bench (make bench)."""
