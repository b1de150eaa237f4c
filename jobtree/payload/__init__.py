"""What a job runs, in transit: Targets, their environment, JOB_FILE. Read next: serialize.py."""
