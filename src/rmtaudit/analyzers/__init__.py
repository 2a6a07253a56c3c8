"""The analyzers and their registry: from a layer's matrices and spectrum to named metrics."""
