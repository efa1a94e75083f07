"""The history of schema `config`, one file per step, applied by chassis.database.migrate; never edited later."""
