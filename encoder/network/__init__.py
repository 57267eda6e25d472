"""The networks, defined in MindSpore: OPT, and the OPTs that read text and image as one sequence."""
