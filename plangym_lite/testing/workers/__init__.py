"""The contract that every worker keeps."""
