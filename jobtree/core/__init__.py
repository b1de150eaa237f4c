"""The pure core: states of jobs and issues, rescue, packing, nodes. Read next: job_states.py."""
