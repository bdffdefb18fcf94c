package main

import (
	"bytes"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if namespaced(os.Args) {
		return
	}
	os.Exit(m.Run())
}

func TestRealProcessesDie(t *testing.T) {
	var out bytes.Buffer
	if _, failed := realSample(&out, 3); failed > 0 {
		t.Error(out.String())
	}
	t.Log(out.String())
}
