"""What adapters of every kind share: the job script, names in use. Read next: jobscript.py."""
