"""The real-vs-fake report: one self-contained page for people, and its digest in markdown."""
