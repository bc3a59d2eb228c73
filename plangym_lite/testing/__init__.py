"""Shipped suites: the contract that every environment and every worker keeps."""

from plangym_lite.testing.contract.contract import ContractSuite, Report, check_exact

__all__ = ["ContractSuite", "Report", "check_exact"]
