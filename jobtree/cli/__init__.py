"""The command line. Must import nothing heavy before a verb needs it. Read next: main.py."""
