"""Shipped suites: the contract that every environment and every worker keeps."""
