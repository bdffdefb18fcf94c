package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// What looks like a secret is in no archive, wherever it stands; what does not is.
func TestAnArchiveHasNoSecrets(t *testing.T) {
	type deep struct {
		Password string   `json:"password"`
		APIKey   string   `json:"api_key"`
		Tokens   []string `json:"lines"`
	}
	a := archive{}
	a.json("x", map[string]any{
		"diff": "+    auth_type PASS\n+    auth_pass hunter2\n-password = \"hunter2\"\n+router_id lb\n" +
			"+url https://op:hunter2@example.net/hook\n+Authorization: Bearer hunter2\n+token=hunter2\n",
		"deep": []any{deep{"hunter2", "hunter2", []string{"--token=hunter2", "snmp community hunter2", "weight 3"}}},
		"key":  "before\n-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\nafter", "cut": "-----BEGIN RSA PRIVATE KEY-----\nhunter2",
		"number": 3,
	})
	text := string(a["x"])
	if strings.Contains(text, "hunter2") {
		t.Error(text)
	}
	for _, kept := range []string{"router_id lb", "weight 3", "before", "after", "example.net/hook", `"number": 3`} {
		if !strings.Contains(text, kept) {
			t.Errorf("%q is missing:\n%s", kept, text)
		}
	}
	if !json.Valid(a["x"]) {
		t.Error("no JSON")
	}
}
