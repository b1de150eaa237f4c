"""The master: issues jobs, reads results, rescues what is lost. Read next: loop.py."""
