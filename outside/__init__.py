"""Every system that is not ours, one file each."""
