"""The doctor of a site: runs canary jobs, and says what is wrong and what to change.

canary.py has the jobs, checks.py and grading.py the results, all pure; runner.py runs them,
node_script.py is what runs on a node. Read next: examination.py, a whole examination.
"""
