"""The pure core: states of jobs and issues, rescue, packing, nodes. No clock, file or scheduler."""
