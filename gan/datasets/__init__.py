"""Fashion-MNIST: where it is had, how it is checked, decoded and normalized."""
