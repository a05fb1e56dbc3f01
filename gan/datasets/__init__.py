"""Fashion-MNIST and data sets of its form: where they are had, how they are checked, decoded and normalized."""
