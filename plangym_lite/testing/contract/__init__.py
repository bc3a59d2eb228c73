"""The exactness contract as an executable test suite."""

from plangym_lite.testing.contract.contract import ContractSuite, Report, check_exact

__all__ = ["ContractSuite", "Report", "check_exact"]
