"""What local-cluster and local-cell share: a batch system of its own in a directory."""
