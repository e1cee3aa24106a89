"""Column types that are called differently in one of the databases, or that several tables have."""

from sqlalchemy import BigInteger, Integer, LargeBinary, String, Text
from sqlalchemy.dialects.mysql import BINARY, LONGBLOB, LONGTEXT

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself
Digest = LargeBinary(32).with_variant(BINARY(32), "mysql", "mariadb")
Encrypted = LargeBinary().with_variant(LONGBLOB, "mariadb")  # MariaDB's BLOB and TEXT end at 64 KiB
LongText = Text().with_variant(LONGTEXT, "mariadb")

SUB_LENGTH = 43
CLIENT_ID_LENGTH = 255
TENANT_NAME_LENGTH = 40

Sub = String(SUB_LENGTH)
Sid = String(22)
ClientId = String(CLIENT_ID_LENGTH)
Acr = String(100)
TenantName = String(TENANT_NAME_LENGTH)
