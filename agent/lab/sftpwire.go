package lab

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
)

// The packets of SFTP 3 (draft-ietf-secsh-filexfer-02) that extensions looks
// at.
const (
	fxpVersion  = 2
	fxpStatus   = 101
	fxpExtended = 200

	fxOK          = 0
	fxUnsupported = 8

	largestPacket = 256 << 10 // OpenSSH's own limit
)

// extensions stands between a client and the SFTP server, whose extensions are
// the same for every server of a process: it says and answers those that the
// machine's OpenSSH would have, fsync among them. Old ones have none.
type extensions struct {
	io.ReadWriteCloser
	modern bool

	in []byte // what the server has yet to read

	mu  sync.Mutex
	out []byte // the beginning of a packet that the server writes
}

func newExtensions(rw io.ReadWriteCloser, modern bool) *extensions {
	return &extensions{ReadWriteCloser: rw, modern: modern}
}

// Read gives the server the client's packets, without those that are answered
// here.
func (e *extensions) Read(p []byte) (int, error) {
	for len(e.in) == 0 {
		packet, err := readPacket(e.ReadWriteCloser)
		if err != nil {
			return 0, err
		}
		if id, name, ok := extended(packet); ok && (!e.modern || name != "posix-rename@openssh.com") {
			status := uint32(fxUnsupported)
			if e.modern && name == "fsync@openssh.com" {
				status = fxOK // what is written is there
			}
			if err := e.send(statusPacket(id, status)); err != nil {
				return 0, err
			}
			continue
		}
		e.in = packet
	}
	n := copy(p, e.in)
	e.in = e.in[n:]
	return n, nil
}

// Write passes on the server's packets, each whole.
func (e *extensions) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.out = append(e.out, p...)
	for len(e.out) >= 4 {
		end := 4 + int(binary.BigEndian.Uint32(e.out))
		if len(e.out) < end {
			break
		}
		packet := slices.Clone(e.out[:end])
		e.out = slices.Delete(e.out, 0, end)
		if packet[4] == fxpVersion {
			packet = e.version()
		}
		if _, err := e.ReadWriteCloser.Write(packet); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (e *extensions) send(packet []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := e.ReadWriteCloser.Write(packet)
	return err
}

func (e *extensions) version() []byte {
	body := binary.BigEndian.AppendUint32([]byte{fxpVersion}, 3)
	if e.modern {
		for _, name := range []string{"posix-rename@openssh.com", "fsync@openssh.com"} {
			body = appendString(appendString(body, name), "1")
		}
	}
	return packet(body)
}

func packet(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func statusPacket(id, status uint32) []byte {
	b := binary.BigEndian.AppendUint32([]byte{fxpStatus}, id)
	b = binary.BigEndian.AppendUint32(b, status)
	text := ""
	if status != fxOK {
		text = "Operation unsupported"
	}
	return packet(appendString(appendString(b, text), ""))
}

func readPacket(r io.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head)
	if n == 0 || n > largestPacket {
		return nil, fmt.Errorf("SFTP packet of %d bytes", n)
	}
	p := make([]byte, 4+n)
	copy(p, head)
	_, err := io.ReadFull(r, p[4:])
	return p, err
}

// extended takes an extended request apart.
func extended(packet []byte) (id uint32, name string, ok bool) {
	if packet[4] != fxpExtended || len(packet) < 13 {
		return 0, "", false
	}
	id = binary.BigEndian.Uint32(packet[5:])
	n := binary.BigEndian.Uint32(packet[9:])
	if uint64(n) > uint64(len(packet)-13) {
		return 0, "", false
	}
	return id, string(packet[13 : 13+n]), true
}
