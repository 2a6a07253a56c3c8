"""The relations of the models of a folder, as a graph."""
