"""The doctor of a site: runs canary jobs, and says what is wrong and what to change.

Owns nothing itself. canaries.py has the jobs and judging.py the verdicts, both pure; rounds.py
runs them; visit.py is what runs on a node. Read next: canaries.py.
"""
