"""What messagepipe manages on this machine, beside what the machine could do without it. `python -m bench --help`."""

from services.chassis.env import leave_forks_alone

leave_forks_alone()
