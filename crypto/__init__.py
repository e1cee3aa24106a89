"""Secrets, hashes, encryption and signatures: values in, values out, without Flask and without SQL."""
