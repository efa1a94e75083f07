"""The tests of messagepipe; tests/conftest.py says what every test may ask for."""

from services.chassis.env import leave_forks_alone

leave_forks_alone()
