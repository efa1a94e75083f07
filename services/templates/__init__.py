"""The template language: Handlebars' syntax over JSON values. Pure: no I/O, no clock, nothing of Python is reachable.

Both services stand on it: one checks what is stored, the other renders what is sent.
"""
