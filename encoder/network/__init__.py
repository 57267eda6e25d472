"""The networks, defined in MindSpore: OPT and the single-stream OPTs."""
