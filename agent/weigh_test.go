package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// No value that a host can have made by few bytes is larger than it is taken
// for, and there are no maps, of which this knows nothing.
func TestNoValueIsHeavierThanItIsTakenFor(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var look func(typ reflect.Type, path string)
	look = func(typ reflect.Type, path string) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		switch typ.Kind() {
		case reflect.Map, reflect.Interface:
			t.Errorf("%s is a %s: weigh says nothing of that", path, typ.Kind())
		case reflect.Slice, reflect.Pointer:
			if typ.Elem().Size() > valueWeight {
				t.Errorf("%s: a %s has %d bytes, more than %d", path, typ.Elem(), typ.Elem().Size(), valueWeight)
			}
			look(typ.Elem(), path)
		case reflect.Array:
			look(typ.Elem(), path)
		case reflect.Struct:
			if typ.Implements(reflect.TypeFor[json.Marshaler]()) || typ == reflect.TypeFor[netip.Addr]() || typ == reflect.TypeFor[netip.Prefix]() || typ == reflect.TypeFor[time.Time]() {
				return
			}
			for i := range typ.NumField() {
				if f := typ.Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
					look(f.Type, path+"."+f.Name)
				}
			}
		}
	}
	look(reflect.TypeFor[response](), "response")
}

// largest is a report of a table as large as the largest that is known, all of
// which is to be added and would be taken away again.
func largest() response {
	var do, undo []ipvs.Edit
	for n := range 37298 {
		s := &ipvs.Service{Key: ipvs.Key{Protocol: "tcp", Addr: netip.AddrFrom4([4]byte{10, 1, byte(n >> 12), byte(n >> 4)}), Port: 80}, Scheduler: "wlc"}
		d := ipvs.Destination{DestKey: ipvs.DestKey{Addr: netip.AddrFrom4([4]byte{10, 2, byte(n >> 8), byte(n)}), Port: 80}, Weight: 100, Method: ipvs.DR}
		do = append(do, ipvs.Edit{Verb: ipvs.AddDest, Service: s, Dest: d})
		undo = append(undo, ipvs.Edit{Verb: ipvs.DeleteDest, Service: s, Dest: d, WasDest: &d})
	}
	return response{ID: 1, Done: true, Report: &Report{Items: []Item{{Step: "ipvs", Layer: Live, Change: step.Change{
		Diff: strings.Repeat("+-a -t 10.1.2.3:80 -r 10.2.3.4:80 -g -w 100\n", 37298),
		Do:   []step.Op{{Kind: step.IPVS, Edits: do}}, Undo: []step.Op{{Kind: step.IPVS, Edits: undo}},
	}}}}}
}

func TestTheLargestReportIsFarBelowTheBounds(t *testing.T) {
	frame, err := json.Marshal(largest())
	if err != nil {
		t.Fatal(err)
	}
	weight, err := weigh(frame)
	t.Logf("%d bytes, weighs %d", len(frame), weight)
	if err != nil || len(frame) > maxAnswer/3 || weight > maxWeight/3 {
		t.Errorf("%d bytes of %d, weighs %d of %d: %v", len(frame), maxAnswer, weight, maxWeight, err)
	}
}

// A liar says hello, and then what it likes to the controller's first question.
func liar(t *testing.T, says func(w *frameWriter, id uint64) error) (*Client, <-chan error) {
	t.Helper()
	near, far := net.Pipe()
	c := NewClient(near, "")
	said := make(chan error, 1)
	go func() {
		in, out := bufio.NewReader(far), newFrameWriter(far, hello(agentMagic, ""))
		_, _ = ReadLine(in, maxHello)
		var req request
		if err := next(&frameReader{r: in}, &req); err != nil {
			said <- err
			return
		}
		go func() { _, _ = io.Copy(io.Discard, in) }()
		said <- says(out, req.ID)
	}()
	t.Cleanup(func() { _ = c.Close(); _ = far.Close() })
	return c, said
}

// What takes the controller's memory by few bytes, or many, ends the session with
// that host, and the controller keeps little of it.
func TestAHostOverItsBoundIsAnErrorOfThatHost(t *testing.T) {
	raw := func(w *frameWriter, frame []byte) error {
		for len(frame) > maxPiece {
			if err := w.write(longPiece, frame[:maxPiece]); err != nil {
				return err
			}
			frame = frame[maxPiece:]
		}
		return w.write(longPiece|longEnd, frame)
	}
	around := func(before string, n int, what, after string) func(*frameWriter, uint64) error {
		return func(w *frameWriter, id uint64) error {
			return raw(w, fmt.Appendf(nil, `{"id":%d,"done":true,%s%s%s}`, id, before, strings.Repeat(what, n), after))
		}
	}
	for name, tt := range map[string]struct {
		says func(*frameWriter, uint64) error
		want string
	}{
		"empty items":    {around(`"report":{"items":[{}`, 30<<20, ",{}", "]}"), "more memory"},
		"no items":       {around(`"report":{"items":[{}`, 20<<20, ",null", "]}"), "more memory"},
		"items of zero":  {around(`"report":{"items":[0`, 40<<20, ",0", "]}"), "more memory"},
		"notes":          {around(`"report":{"notes":[""`, 30<<20, `,""`, "]}"), "more memory"},
		"operations":     {around(`"report":{"items":[{"change":{"do":[{}`, 30<<20, ",{}", "]}}]}"), "more memory"},
		"entries":        {around(`"table":[{}`, 30<<20, ",{}", "]"), "more memory"},
		"results":        {around(`"results":[{}`, 30<<20, ",{}", "]"), "more memory"},
		"unknown lists":  {around(`"x":[[]`, 30<<20, ",[]", "]"), "more memory"},
		"one long text":  {around(`"known":"`, 140<<20, "x", `"`), "more than"},
		"deep lists":     {around(`"x":`, 10000, "[", ""), "deep"},
		"deep causes":    {around("", 5000, `"error":{"undo":{"cause":{`, ""), "deep"},
		"a long nonce":   {func(w *frameWriter, _ uint64) error { return w.send(response{Nonce: strings.Repeat("x", 60_000)}) }, "nonce"},
		"half an answer": {func(w *frameWriter, _ uint64) error { return w.write(0, []byte(`{"id":1,"done":tr`)) }, "decode frame"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := liar(t, tt.says)
			_, err := c.call(t.Context(), request{Method: methodCheck}, nil)
			if !errors.Is(err, host.ErrLost) || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("%v", err)
			}
			_ = c.Close()
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			if m.HeapAlloc > 300<<20 {
				t.Errorf("%d MiB are kept", m.HeapAlloc>>20)
			}
		})
	}
}

// Answers that nobody asked for do not heap up behind one that takes its time.
func TestAnswersInFlightAreBounded(t *testing.T) {
	free := make(chan struct{})
	frame := fmt.Appendf(nil, `{"id":99,"done":true,"known":"%s"}`, bytes.Repeat([]byte("x"), 8<<20))
	c, said := liar(t, func(w *frameWriter, id uint64) error {
		if err := w.send(response{ID: id, Event: &Event{Phase: "check"}}); err != nil {
			return err
		}
		for range 40 {
			if err := sendRaw(w.w, frame); err != nil {
				return err
			}
		}
		return nil
	})
	go func() {
		<-said // the line was cut, or all was taken
		close(free)
	}()
	cut := time.AfterFunc(30*time.Second, c.Cut) // whatever becomes of it
	defer cut.Stop()
	_, err := c.call(t.Context(), request{Method: methodCheck}, func(Event) {
		select {
		case <-free:
		case <-c.ended:
		case <-time.After(20 * time.Second):
		}
	})
	if !errors.Is(err, host.ErrLost) || !strings.Contains(err.Error(), "faster than it is asked") {
		t.Errorf("%v", err)
	}
}

// A flood of nonces costs one goroutine, and the last of them is answered.
func TestAFloodOfNonces(t *testing.T) {
	slow := make(chan struct{})
	c, said := liar(t, func(w *frameWriter, id uint64) error {
		for n := range 20_000 {
			if err := w.send(response{Nonce: fmt.Sprint("nonce ", n)}); err != nil {
				return err
			}
		}
		return nil
	})
	c.RenewWhile(func() bool { <-slow; return true })
	before := runtime.NumGoroutine()
	asked := make(chan error, 1)
	go func() {
		_, err := c.call(t.Context(), request{Method: methodCheck}, nil)
		asked <- err
	}()
	if err := <-said; err != nil {
		t.Fatal(err)
	}
	if n := runtime.NumGoroutine(); n > before+10 {
		t.Errorf("%d goroutines more", n-before)
	}
	close(slow)
	c.Cut()
	<-asked
}

func FuzzWeigh(f *testing.F) {
	for _, text := range []string{`{}`, `[[]]`, `{"a":[1,2,{"b":"c\"],["}]}`, `"`, `"\`, `]`, `{"report":{"items":[{},{},{}]}}`, `[null,null]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		weight, err := weigh(frame)
		if weight < len(frame) && err == nil && json.Valid(frame) {
			t.Errorf("%d bytes weigh %d", len(frame), weight)
		}
		var res response
		if err != nil || json.Unmarshal(frame, &res) != nil || res.Report == nil {
			return
		}
		if least := len(res.Report.Items)*int(reflect.TypeFor[Item]().Size()) + len(res.Report.Notes)*16; weight < least {
			t.Errorf("%d bytes weigh %d, and make %d at least", len(frame), weight, least)
		}
	})
}
