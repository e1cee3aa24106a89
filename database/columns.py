"""Column types that have another name on one database than on the others, but the same meaning."""

from sqlalchemy import BigInteger, Integer, LargeBinary, Text
from sqlalchemy.dialects.mysql import BINARY, LONGBLOB, LONGTEXT

Id = BigInteger().with_variant(Integer, "sqlite")  # the one that SQLite counts up by itself
Digest = LargeBinary(32).with_variant(BINARY(32), "mysql", "mariadb")
Sealed = LargeBinary().with_variant(LONGBLOB, "mariadb")  # MariaDB's BLOB and TEXT end at 64 KiB
LongText = Text().with_variant(LONGTEXT, "mariadb")
