"""HDF5 files, read without the HDF5 library.

The library (2.0.0) crashes on damaged files, and follows links and external storage to other files. Weights
need little of the format, so what they need is read here, every address and size checked first. Source of all
structures: the HDF5 File Format Specification, version 3.0 (The HDF Group).
"""
