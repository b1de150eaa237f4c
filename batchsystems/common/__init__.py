"""What adapters of every kind share: the job script, names in use, files of defaults."""
