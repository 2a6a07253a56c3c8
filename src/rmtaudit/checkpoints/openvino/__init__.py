"""OpenVINO IR: a graph in ``.xml``, its constants in the ``.bin`` of the same name."""
