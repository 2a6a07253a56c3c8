"""What happened between two matrices of one shape: equality, storage, edits, updates, noise, distortion."""
