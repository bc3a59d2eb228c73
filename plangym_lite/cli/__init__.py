"""The console script ``plangym-lite``."""
