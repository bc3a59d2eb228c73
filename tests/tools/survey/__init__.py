"""``python -m tests.tools.survey``: is everything that is installed exact?"""
