"""The audit files, read back: for `pgbastion audit`, the admin API and whoever ships them."""
