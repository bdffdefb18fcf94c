package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

func TestWhatALostConnectionLooksLike(t *testing.T) {
	h := &Host{name: "rs1"}
	for _, err := range []error{
		io.EOF, &ssh.ExitMissingError{}, net.ErrClosed, &net.OpError{Op: "write", Err: syscall.EPIPE}, &net.OpError{Op: "read", Err: syscall.ECONNRESET},
		// As x/crypto says it of a channel that is opened while the connection ends.
		errors.New("ssh: unexpected packet in response to channel open: <nil>"),
	} {
		if got := h.lost(fmt.Errorf("open a session: %w", err)); !errors.Is(got, host.ErrLost) {
			t.Errorf("%v is taken for %v", err, got)
		}
	}
	for _, err := range []error{nil, &ssh.OpenChannelError{Reason: ssh.ResourceShortage}, errors.New("permission denied")} {
		if got := h.lost(err); errors.Is(got, host.ErrLost) {
			t.Errorf("%v is taken for a lost connection", err)
		}
	}
}
