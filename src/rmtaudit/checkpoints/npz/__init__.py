"""Arrays of NumPy: ``.npz`` archives and single ``.npy`` files, never unpickled."""
