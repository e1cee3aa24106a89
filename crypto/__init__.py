"""Secrets, hashes, encryption and signatures: values in, values out, no Flask and no SQL."""
