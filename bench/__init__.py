"""What messagepipe manages on this machine, beside what the machine could do without it. `python -m bench --help`."""
