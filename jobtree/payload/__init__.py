"""What a job runs, in transit: Targets, their environment and the commands that grow the tree."""
