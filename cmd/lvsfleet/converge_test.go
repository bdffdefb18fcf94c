package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestOnlyALineThatSaysYesAgrees(t *testing.T) {
	for text, want := range map[string]bool{
		"y\n": true, "YES\n": true, " yes \n": true,
		"": false, "\n": false, "n\n": false, "yy\n": false, "y": false, "no\ny\n": false,
	} {
		if yes, err := answer(t.Context(), strings.NewReader(text), io.Discard); yes != want || err != nil {
			t.Errorf("%q: %v, %v", text, yes, err)
		}
	}
	if yes, err := answer(t.Context(), iotest.ErrReader(errors.New("gone")), io.Discard); yes || err == nil {
		t.Errorf("a terminal that fails: %v, %v", yes, err)
	}
}

// Ctrl-C while nobody has typed anything ends the question.
func TestAnInterruptIsNoAgreement(t *testing.T) {
	in, typed := io.Pipe()
	defer typed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if yes, err := answer(ctx, in, io.Discard); yes || err != nil {
		t.Errorf("%v, %v", yes, err)
	}
}
