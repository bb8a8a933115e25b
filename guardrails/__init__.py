"""The content plane: guardrails screen the text of a call. Its place in the import order is fixed; its rules come with their feature."""
