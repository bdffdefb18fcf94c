package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/providers/step"
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

func TestTheQuestionTellsHostsFromDirectorsThatOnlyLoseEntries(t *testing.T) {
	differs := agent.Report{Items: []agent.Item{{Change: step.Change{Diff: "-x", Do: []step.Op{{Kind: step.Run}}}}}}
	host, director := fleet.Finding{Report: differs}, fleet.Finding{Report: differs, OnlyEntries: true}
	for want, found := range map[string][]fleet.Finding{
		"Change 1 host":                          {host, {}},
		"Drain and delete entries on 1 director": {director, {}},
		"Change 1 host, and drain and delete its entries on 2 directors":   {director, host, director},
		"Change 2 hosts, and drain and delete their entries on 1 director": {host, director, host},
	} {
		if got := question("Change", found); got != want {
			t.Errorf("it asks %q, not %q", got, want)
		}
	}
}
