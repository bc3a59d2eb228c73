"""Test suites that are part of the package: the exactness contract, toy environments."""

from plangym_lite.testing.contract.contract import ContractSuite, Report, check_exact

__all__ = ["ContractSuite", "Report", "check_exact"]
