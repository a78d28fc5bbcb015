"""The main flow, and the folder that it writes."""
