"""The packages under plugins/, and the guide to writing one."""
