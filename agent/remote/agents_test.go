package remote

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
)

func payloadOf(t *testing.T, programs map[Platform][]byte) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for p, data := range programs {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(data)
		if err = errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		files[PayloadFile(p)] = &fstest.MapFile{Data: b.Bytes()}
	}
	text, err := json.Marshal(MakeManifest(programs))
	if err != nil {
		t.Fatal(err)
	}
	files[ManifestFile] = &fstest.MapFile{Data: text}
	return files
}

func TestPayload(t *testing.T) {
	amd64, i386 := Platform{"linux", "amd64"}, Platform{"freebsd", "386"}
	files := payloadOf(t, map[Platform][]byte{amd64: []byte("one"), i386: []byte("two")})
	p := fromFS(files)
	if got, err := p.Get("linux", "amd64"); string(got.Data) != "one" || got.Sum != sha256.Sum256([]byte("one")) || err != nil {
		t.Errorf("%q %x %v", got.Data, got.Sum, err)
	}
	if _, err := p.Get("illumos", "amd64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that it lacks: %v", err)
	}
	carried, lacking := p.Platforms()
	if !slices.Equal(carried, []string{"linux/amd64", "freebsd/386"}) || len(lacking) != 5 {
		t.Errorf("carried %q, lacking %q", carried, lacking)
	}
	other := fromFS(payloadOf(t, map[Platform][]byte{amd64: []byte("one"), i386: []byte("three")}))
	if p.Hash() == "" || p.Hash() == other.Hash() {
		t.Errorf("two builds with the hash %q", p.Hash())
	}

	files[PayloadFile(amd64)].Data = files[PayloadFile(i386)].Data
	if _, err := fromFS(files).Get("linux", "amd64"); err == nil {
		t.Error("one that is another's was given")
	}
	files[PayloadFile(amd64)].Data = []byte("\x1f\x8b torn")
	if _, err := fromFS(files).Get("linux", "amd64"); err == nil {
		t.Error("one that is torn was given")
	}
	for name, files := range map[string]fstest.MapFS{
		"empty":   {"README": &fstest.MapFile{}},
		"damaged": {ManifestFile: &fstest.MapFile{Data: []byte(`{"hash":"x","sha`)}},
	} {
		p := fromFS(files)
		if carried, lacking := p.Platforms(); p.Hash() != "" || len(carried) != 0 || len(lacking) != 7 {
			t.Errorf("%s: %q %q", name, p.Hash(), carried)
		}
	}
}

// The lab's agents are there for every platform, and are of one build.
func TestLabAgents(t *testing.T) {
	a := LabAgents()
	for _, p := range Platforms() {
		if got, err := a.Get(p.OS, p.Arch); err != nil || len(got.Data) == 0 || len(got.Packed) == 0 {
			t.Errorf("%s: %v", p, err)
		}
	}
	if a.Hash() == "" || a.Hash() == Embedded().Hash() {
		t.Errorf("their hash is %q", a.Hash())
	}
}

// countedAgents counts how often a program is asked for.
type countedAgents struct {
	Agents
	asked atomic.Int32
}

func (c *countedAgents) Get(os, arch string) (Program, error) {
	c.asked.Add(1)
	return c.Agents.Get(os, arch)
}

// A fleet of one platform unpacks one agent, however many hosts it has.
func TestAnAgentIsUnpackedOnceForAllHosts(t *testing.T) {
	amd64 := Platform{"linux", "amd64"}
	agents := &countedAgents{Agents: fromFS(payloadOf(t, map[Platform][]byte{amd64: []byte("one")}))}
	d := &Dialer{Agents: agents}
	var hosts sync.WaitGroup
	for range 20 {
		hosts.Go(func() {
			got, err := d.program(amd64)
			if string(got.Data) != "one" || got.Sum != sha256.Sum256([]byte("one")) || err != nil {
				t.Errorf("%q %x %v", got.Data, got.Sum, err)
			}
		})
	}
	hosts.Wait()
	if n := agents.asked.Load(); n != 1 {
		t.Errorf("unpacked %d times", n)
	}
	if _, err := d.program(Platform{"illumos", "amd64"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that it lacks: %v", err)
	}
}
