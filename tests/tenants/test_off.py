"""Where tenants are off there is one issuer, and nothing about tenants is read or answered."""

import re

from tests.builders import a_client, a_code, a_user, basic, code_request, refresh_request

CODE = "ost_ac_" + "c" * 43
TENANT_TABLE = re.compile(r'\b(?:FROM|JOIN|INTO|UPDATE)\s+"?tenant"?\b', re.IGNORECASE)


def test_no_request_reads_the_tenants(http, seed, statements):
    seed(a_user(), a_client(), a_code(CODE))
    statements.clear()
    issued = http.post("/oauth/token", data=code_request(CODE), auth=basic("web")).json
    again = refresh_request(issued["refresh_token"])
    refreshed = http.post("/oauth/token", data=again, auth=basic("web")).json
    http.get("/api/me", headers={"Authorization": f"Bearer {refreshed['access_token']}"})
    for path in ("/login", "/oauth/jwks", "/.well-known/openid-configuration", "/healthz", "/t/acme/login"):
        http.get(path)
    assert refreshed["access_token"] and len(statements) > 15
    assert [sql for sql in statements if TENANT_TABLE.search(sql)] == []


def test_the_pattern_finds_the_table():
    assert TENANT_TABLE.search("SELECT tenant.id \nFROM tenant \nWHERE tenant.id != ?")
    assert not TENANT_TABLE.search("SELECT token.id FROM token WHERE token.tenant_id = ?")


def test_an_address_of_tenants_is_not_there(http):
    assert http.get("/t/acme/login").status_code == 404
    answer = http.get("/.well-known/openid-configuration/t/acme")
    assert (answer.status_code, answer.content_type) == (404, "application/json")
