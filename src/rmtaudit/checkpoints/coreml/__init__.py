"""Core ML programs: ``.mlpackage`` folders, and the compiled ``.mlmodelc`` folders."""
