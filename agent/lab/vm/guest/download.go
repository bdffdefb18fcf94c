//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// More services for a site, beside the one of its file. The second's weights
// are a variable.
const more = `
variable "weight" {
  type    = number
  default = 1
}

virtual_service "other" {
  director  = "director"
  pool      = "web"
  address   = "%[1]s"
  port      = 81
  scheduler = "wrr"
  method    = "%[2]s"%[3]s
  real_server "rs160" { weight = var.weight }
}
`

const third = `
virtual_service "new" {
  director  = "director"
  pool      = "web"
  address   = "%[1]s"
  port      = 82
  scheduler = "sh"
  method    = "%[2]s"%[3]s
}
`

// few leaves rs180 out of the pool.
const few = "rs180=[]"

// stall is how long a download may stand still.
const stall = time.Second

// downloading makes the checks of a long download, which runs while converge
// adds a service, changes the weights of another and adds a real server to the
// download's own.
func (s *suite) downloading(c cluster, name func(string) string) {
	text, err := sites.ReadFile("sites/" + c.name + ".hcl")
	if err == nil {
		peer := ""
		if c.name == "tun" {
			peer = "\n  tunnel_peer = \"192.168.10.99\""
		}
		before := string(text) + fmt.Sprintf(more, c.vip, c.name, peer)
		err = errors.Join(s.site("before.hcl", before), s.site("after.hcl", before+fmt.Sprintf(third, c.vip, c.name, peer)))
	}
	ready := s.check(name("a real server leaves, a second service comes"), func() error {
		if err != nil {
			return err
		}
		return s.converge("/root/before.hcl", "--var", few)
	})
	if !ready {
		return
	}
	s.check(name("a download goes on while converge adds a service and a real server"), func() error {
		d, err := s.download(c.vip + ":80")
		if err != nil {
			return err
		}
		from := d.sofar()
		still := lag()
		err = s.converge("/root/after.hcl", "--var", "weight=7")
		for end := time.Now().Add(patience); d.sofar() == from && time.Now().Before(end); {
			time.Sleep(slowGap)
		}
		size, worst, broken := d.end()
		machine := still()
		s.log("%d bytes from %s over one connection, the longest pause %s, of the whole machine %s",
			size, d.who, worst.Round(time.Millisecond), machine.Round(time.Millisecond))
		switch {
		case err != nil:
			return err
		case broken != nil:
			return fmt.Errorf("the download broke: %w", broken)
		case size <= from:
			return errors.New("nothing came while converge ran")
		case worst-machine > stall:
			return fmt.Errorf("the download stood still for %s", worst)
		}
		return nil
	})
	s.check(name("the table is what the inventory says"), func() error {
		out, err := s.fabric.Run("lb", "ipvsadm", "-Sn")
		if err != nil {
			return err
		}
		s.log("%s", out)
		for _, want := range []string{":80 -r 192.168.0.180:80 ", ":81 -r 192.168.0.160:81 ", " -w 7", ":82 -s sh"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("%q is not there", want)
			}
		}
		return nil
	})
}

// lag measures the longest time that the machine itself stands still, until it
// is asked for: it shares its processors with whatever runs beside it.
func lag() (worst func() time.Duration) {
	stop, found := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		for {
			select {
			case <-stop:
				found <- most
				return
			default:
			}
			begun := time.Now()
			time.Sleep(slowGap)
			most = max(most, time.Since(begun)-slowGap)
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-found
	}
}

// A download is one that is running.
type download struct {
	who   string
	close func()
	done  chan struct{}

	mu    sync.Mutex
	size  int
	worst time.Duration
	err   error
	over  bool
}

// download starts to fetch a page that has no end.
func (s *suite) download(addr string) (*download, error) {
	conn, err := s.fabric.Dial("client", addr, patience)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprint(conn, "GET /slow HTTP/1.1\r\nHost: lab\r\n\r\n"); err != nil {
		return nil, err
	}
	d := &download{close: func() { _ = conn.Close() }, done: make(chan struct{})}
	begun := make(chan error, 1)
	go func() {
		defer close(d.done)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			begun <- err
			return
		}
		defer resp.Body.Close()
		body := bufio.NewReader(resp.Body)
		line, err := body.ReadString('\n')
		d.who = strings.TrimSpace(line)
		begun <- err
		if err == nil {
			d.run(body)
		}
	}()
	return d, <-begun
}

func (d *download) run(body io.Reader) {
	buf := make([]byte, 1<<16)
	last := time.Now()
	for {
		n, err := body.Read(buf)
		now := time.Now()
		d.mu.Lock()
		if d.over {
			d.mu.Unlock()
			return
		}
		d.size += n
		d.worst = max(d.worst, now.Sub(last))
		if err != nil {
			d.err = err
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		last = now
	}
}

func (d *download) sofar() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.size
}

// end ends it and gives how much came, the longest pause, and what broke it.
func (d *download) end() (size int, worst time.Duration, err error) {
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
	d.close()
	<-d.done
	return d.size, d.worst, d.err
}
