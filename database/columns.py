"""Column types that have another name in one of the databases, but the same meaning."""

from sqlalchemy import BigInteger, Integer, LargeBinary, Text
from sqlalchemy.dialects.mysql import BINARY, LONGBLOB, LONGTEXT

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself
Digest = LargeBinary(32).with_variant(BINARY(32), "mysql", "mariadb")
Encrypted = LargeBinary().with_variant(LONGBLOB, "mariadb")  # MariaDB's BLOB and TEXT end at 64 KiB
LongText = Text().with_variant(LONGTEXT, "mariadb")
