"""The doctor of a site: runs canary jobs, and says what is wrong and what to change.

Owns nothing itself. canary.py has the jobs and grading.py the verdicts, both pure; runner.py
runs them; node_script.py is what runs on a node. Read next: canary.py.
"""
