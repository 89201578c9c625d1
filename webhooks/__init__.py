"""What the payment provider sends us and what we send to tenants' own servers; one file each."""
