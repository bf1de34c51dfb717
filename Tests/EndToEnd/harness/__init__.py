"""The end-to-end harness: see ../README.md."""
