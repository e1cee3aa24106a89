"""Which version this is: said by `flask version` and by a server when it starts. A release has a tag of the same name."""

VERSION = "0.1.0"
