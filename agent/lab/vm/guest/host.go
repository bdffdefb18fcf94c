//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/lab/vm/call"
	"github.com/lvsfleet/lvsfleet/agent/lab/vm/fabric"
	"github.com/lvsfleet/lvsfleet/agent/lab/vm/standin"
)

// faults collects what hosts could not do; every check of a cluster ends with
// a look at it.
const faults = "/lab/faults"

func report(name string) func(string) {
	return func(text string) {
		f, err := os.OpenFile(faults, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = fmt.Fprintf(f, "%s: %s\n", name, strings.ReplaceAll(text, "\n", " "))
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, name, text, err)
		}
	}
}

// live is the first process of a host. It boots it, says "ready", and stays:
// it comes back only with what went wrong.
func live() error {
	s, err := fabric.Settle(os.Stdin)
	if err != nil {
		return err
	}
	tell := report(s.Name)
	switch s.OS {
	case "linux":
		// A script's command may fail where it finds done what it would do;
		// that is the real scripts' way too, and in the host's boot.log.
		if err := standin.RedHat(s, func(string) {}); err != nil {
			return err
		}
	case "freebsd", "solaris":
		if err := os.WriteFile("/etc/passwd", []byte("root:x:0:0:root:/root:/bin/standin-sh\nsshd:x:74:74:sshd:/var/empty:/bin/false\n"), 0o644); err != nil {
			return err
		}
		m, err := standin.New(s, func(err error) { tell(err.Error()) })
		if err != nil {
			return err
		}
		if err := m.Serve(); err != nil {
			return err
		}
	}
	if s.Web {
		if err := web(s.Name); err != nil {
			return err
		}
	}
	if s.SSH {
		if err := sshd(s); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	for {
		time.Sleep(time.Hour) // a select of nothing is a deadlock to Go
	}
}

// sshd starts the host's OpenSSH server and waits until it listens.
func sshd(s fabric.Spec) error {
	subsystem := "internal-sftp"
	if s.OS != "linux" {
		subsystem = call.SFTP
	}
	config := fmt.Sprintf(`HostKey /etc/lab/host_key
AuthorizedKeysFile /etc/lab/user_key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UseDNS no
MaxStartups 100
Subsystem sftp %s
`, subsystem)
	if err := os.WriteFile("/etc/lab/sshd_config", []byte(config), 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return err
	}
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-f", "/etc/lab/sshd_config", "-E", "/var/log/sshd.log")
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start sshd: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-ended:
			log, _ := os.ReadFile("/var/log/sshd.log")
			return fmt.Errorf("sshd ended: %w\n%s", err, log)
		default:
		}
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			return err
		}
		if strings.Contains(string(table), " 00000000:0016 ") {
			return nil
		}
	}
	return errors.New("sshd does not listen")
}

// The sizes of what a host serves, in bytes.
const (
	bigPage   = 256 << 10
	slowPiece = 512
)

// slowGap lies between the pieces of a slow page.
const slowGap = 50 * time.Millisecond

// web serves HTTP on every address of the host: / says who answers, /big is
// long, and /slow comes in pieces until the client goes.
func web(name string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) })
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, name)
		_, _ = w.Write(make([]byte, bigPage))
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, name)
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, slowPiece)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(slowGap)
		}
	})
	for _, port := range ports {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		srv := &http.Server{Handler: mux}
		srv.SetKeepAlivesEnabled(false)
		go func() { _ = srv.Serve(l) }()
	}
	return nil
}

// ports are those of the services.
var ports = []string{"80", "81", "82"}
