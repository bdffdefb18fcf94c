package lab

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

// pipe is a client that has said all it will, and what it was answered.
type pipe struct {
	io.Reader
	answers bytes.Buffer
}

func (p *pipe) Write(b []byte) (int, error) { return p.answers.Write(b) }
func (*pipe) Close() error                  { return nil }

func extendedRequest(id uint32, name string) []byte {
	return packet(appendString(binary.BigEndian.AppendUint32([]byte{fxpExtended}, id), name))
}

// FuzzExtensions: whatever a client says, the server sees whole packets, none
// of which is one that is answered before it.
func FuzzExtensions(f *testing.F) {
	f.Add(packet([]byte{1, 0, 0, 0, 3}), true)
	f.Add(append(packet([]byte{1, 0, 0, 0, 3}), extendedRequest(7, "fsync@openssh.com")...), true)
	f.Add(extendedRequest(7, "posix-rename@openssh.com"), false)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, true)
	f.Add([]byte{0, 0, 0, 9, fxpExtended, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}, true)
	f.Fuzz(func(t *testing.T, said []byte, modern bool) {
		p := &pipe{Reader: bytes.NewReader(said)}
		e := newExtensions(p, modern)
		passed, _ := io.ReadAll(e)
		for r := bytes.NewReader(passed); r.Len() > 0; {
			one, err := readPacket(r)
			if err != nil {
				t.Fatalf("half a packet: %v", err)
			}
			if _, name, ok := extended(one); ok && (!modern || name != "posix-rename@openssh.com") {
				t.Errorf("%q came through", name)
			}
		}
	})
}

func TestExtensionsAnswersFsync(t *testing.T) {
	for modern, want := range map[bool]uint32{true: fxOK, false: fxUnsupported} {
		p := &pipe{Reader: bytes.NewReader(extendedRequest(7, "fsync@openssh.com"))}
		_, _ = io.ReadAll(newExtensions(p, modern))
		if want := statusPacket(7, want); !bytes.Equal(p.answers.Bytes(), want) {
			t.Errorf("answered % x, not % x", p.answers.Bytes(), want)
		}
	}
}
