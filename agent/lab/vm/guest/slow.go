//go:build linux

package main

import (
	"net"
	"time"
)

// slowLine listens in a host's network and passes what comes on to another
// address there, over a line with roundTrip: everything arrives half of it
// later than it was sent, and a connection is not open before a whole one.
func (s *suite) slowLine(host, at, to string) error {
	var l net.Listener
	err := s.fabric.In(host, func() (err error) {
		l, err = net.Listen("tcp", at)
		return err
	})
	if err != nil {
		return err
	}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				time.Sleep(roundTrip)
				far, err := s.fabric.Dial(host, to, 30*time.Second)
				if err != nil {
					return
				}
				defer far.Close()
				done := make(chan struct{}, 2)
				for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
					go func() {
						late(way[0], way[1])
						done <- struct{}{}
					}()
				}
				<-done
				<-done
			}()
		}
	}()
	return nil
}

// late copies from one connection to another, half a round trip late, and
// closes the other for writing when the first ends.
func late(from, to net.Conn) {
	type piece struct {
		due  time.Time
		data []byte
	}
	line := make(chan piece, 4096)
	go func() {
		defer close(line)
		for {
			buf := make([]byte, 64<<10)
			n, err := from.Read(buf)
			if n > 0 {
				line <- piece{time.Now().Add(roundTrip / 2), buf[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	var broken error
	for p := range line {
		time.Sleep(time.Until(p.due))
		if broken == nil {
			_, broken = to.Write(p.data)
		}
	}
	time.Sleep(roundTrip / 2)
	if c, ok := to.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}
