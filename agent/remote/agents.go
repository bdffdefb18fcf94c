package remote

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// Agents are the agents of one build, one for each platform.
type Agents interface {
	// Hash is the build's, the same for every platform; "" where there are no
	// agents at all.
	Hash() string
	// Get gives the program for a platform by Go's names ("freebsd",
	// "amd64"); fs.ErrNotExist where this build has none.
	Get(os, arch string) (Program, error)
}

// A Program is an agent.
type Program struct {
	Data   []byte
	Packed []byte // by gzip
	Sum    [sha256.Size]byte
}

// A Platform is an operating system and a processor by Go's names.
type Platform struct{ OS, Arch string }

func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Platforms are those for which agents are made.
func Platforms() []Platform {
	return []Platform{
		{"linux", "amd64"}, {"linux", "arm64"}, {"linux", "386"},
		{"freebsd", "amd64"}, {"freebsd", "386"},
		{"illumos", "amd64"}, {"solaris", "amd64"},
	}
}

// payload holds what `make dist` left: manifest.json and OS-ARCH.gz. A plain
// `go build` finds no more than a README in it.
//
//go:embed payload
var payload embed.FS

// A Manifest says what agents a build carries.
type Manifest struct {
	Hash   string            `json:"hash"`
	SHA256 map[string]string `json:"sha256"` // of the program, by "OS/ARCH"
}

// MakeManifest makes the manifest of a set of programs.
func MakeManifest(programs map[Platform][]byte) Manifest {
	m := Manifest{SHA256: map[string]string{}}
	var names []string
	for p, data := range programs {
		sum := sha256.Sum256(data)
		m.SHA256[p.String()] = hex.EncodeToString(sum[:])
		names = append(names, p.String())
	}
	slices.Sort(names)
	h := sha256.New()
	for _, n := range names {
		fmt.Fprintf(h, "%s %s\n", n, m.SHA256[n])
	}
	if len(names) > 0 {
		m.Hash = hex.EncodeToString(h.Sum(nil)[:16])
	}
	return m
}

// A Payload is the agents in this program.
type Payload struct {
	files    fs.FS
	manifest Manifest
}

var _ Agents = (*Payload)(nil)

// Embedded gives the agents that this program carries; a plain build has none.
func Embedded() *Payload {
	sub, err := fs.Sub(payload, "payload")
	if err != nil {
		panic(err) // the name is a constant, and valid
	}
	return fromFS(sub)
}

// fromFS reads a payload folder; a damaged manifest is as good as none.
func fromFS(files fs.FS) *Payload {
	p := &Payload{files: files}
	text, err := fs.ReadFile(files, ManifestFile)
	if err != nil || json.Unmarshal(text, &p.manifest) != nil {
		p.manifest = Manifest{}
	}
	return p
}

// ManifestFile is the name of the manifest in a payload folder.
const ManifestFile = "manifest.json"

// PayloadFile is the name of the compressed agent of a platform.
func PayloadFile(p Platform) string { return p.OS + "-" + p.Arch + ".gz" }

// Hash is the build's.
func (e *Payload) Hash() string { return e.manifest.Hash }

// Get gives the agent of a platform.
func (e *Payload) Get(os, arch string) (Program, error) {
	p := Platform{os, arch}
	want, ok := e.manifest.SHA256[p.String()]
	if !ok {
		return Program{}, fmt.Errorf("agent for %s: %w", p, fs.ErrNotExist)
	}
	packed, err := fs.ReadFile(e.files, PayloadFile(p))
	if err != nil {
		return Program{}, fmt.Errorf("agent for %s: %w", p, err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return Program{}, fmt.Errorf("agent for %s: %w", p, err)
	}
	var data bytes.Buffer
	if _, err := io.Copy(&data, z); err != nil {
		return Program{}, fmt.Errorf("agent for %s: %w", p, err)
	}
	sum := sha256.Sum256(data.Bytes())
	if hex.EncodeToString(sum[:]) != want {
		return Program{}, fmt.Errorf("agent for %s: damaged in this program", p)
	}
	return Program{Data: data.Bytes(), Packed: packed, Sum: sum}, nil
}

// Platforms lists for which platforms there is an agent, and for which of
// those that lvsfleet knows there is none: "linux/amd64".
func (e *Payload) Platforms() (carried, lacking []string) {
	for _, p := range Platforms() {
		if e.manifest.SHA256[p.String()] != "" {
			carried = append(carried, p.String())
		} else {
			lacking = append(lacking, p.String())
		}
	}
	return carried, lacking
}

// labAgents are the same small file for every platform.
type labAgents struct{}

// LabAgents are the agents of the simulated fleet, whose hosts run agent.Main
// on themselves when a file whose name begins with agent.BinaryPrefix is
// called: what is in it does not matter, as long as it is what was sent.
func LabAgents() Agents { return labAgents{} }

const labProgram = "lvsfleet lab: this file stands for the agent of a simulated host\n"

func (labAgents) Hash() string {
	sum := sha256.Sum256([]byte(labProgram))
	return "lab" + hex.EncodeToString(sum[:8])
}

func (labAgents) Get(string, string) (Program, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.WriteString(z, labProgram); err != nil {
		return Program{}, err
	}
	if err := z.Close(); err != nil {
		return Program{}, err
	}
	return Program{Data: []byte(labProgram), Packed: packed.Bytes(), Sum: sha256.Sum256([]byte(labProgram))}, nil
}
