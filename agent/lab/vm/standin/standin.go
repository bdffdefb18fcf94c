//go:build linux

// Package standin lets a namespace pass for a host of another system. A
// FreeBSD or Solaris is package lab's simulated machine: its commands, its
// files, its boot. What its network state comes to is mirrored onto the
// namespace over netlink, so that its tunnel, its loopback alias and its
// default route carry real packets. A Red Hat runs the real tools; only its
// boot scripts are package lab's replay, whose commands are carried out.
package standin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/vm/call"
	"github.com/lvsfleet/lvsfleet/agent/lab/vm/fabric"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Machine is a simulated machine whose network is this namespace's.
type Machine struct {
	m     *sim.Machine
	disk  string
	fault func(error) // told what the namespace could not be made to do

	mu    sync.Mutex // one mirror at a time
	shown *network   // nil: not known

	saving sync.Mutex  // one save at a time
	saved  []host.File // as they were
}

// inventoryHost is the host as its inventory would have it.
func inventoryHost(s fabric.Spec) inventory.Host {
	h := inventory.Host{Name: s.Name, OS: inventory.OS(s.OS), Release: s.Release}
	for _, l := range s.Links {
		if !l.Manage {
			h.Interfaces = append(h.Interfaces, inventory.Interface{Device: l.Dev, Addresses: l.Addrs})
		}
	}
	return h
}

// New boots the machine on the files that it had when its power was cut, or
// freshly installed. What it cannot do with its network it tells fault.
func New(s fabric.Spec, fault func(error)) (*Machine, error) {
	for _, key := range []string{"all", "default"} {
		// Born so: these systems answer for addresses of the receiving card
		// alone, and filter no reverse path.
		for name, value := range map[string]string{"arp_ignore": "1", "arp_announce": "2", "rp_filter": "0"} {
			if err := fabric.Sysctl("net/ipv4/conf/"+key+"/"+name, value); err != nil {
				return nil, err
			}
		}
	}
	for _, l := range s.Links {
		if err := fabric.Sysctl("net/ipv4/conf/"+l.Dev+"/rp_filter", "0"); err != nil {
			return nil, err
		}
		if l.Manage {
			if err := fabric.Configure(l); err != nil {
				return nil, err
			}
		}
	}
	v := &Machine{m: lab.Offline(inventoryHost(s), nil), disk: filepath.Join(s.Dir, "disk.json"), fault: fault}
	if err := v.load(); err != nil {
		return nil, err
	}
	v.m.Watch = func(a sim.Access) error {
		if a.Op == "run" {
			v.mirror() // what the command before has done
		}
		return nil
	}
	return v, v.mirrored()
}

// load puts the files of the last boot in place and boots on them.
func (v *Machine) load() error {
	text, err := os.ReadFile(v.disk)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var list []host.File
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("read the disk: %w", err)
	}
	disk := sim.NewFS()
	disk.Live = v.m.FS.Live
	for _, f := range list {
		at := f.Path
		if at == "/" {
			continue
		}
		if err := disk.Write(at, f); err != nil {
			return fmt.Errorf("read the disk: %w", err)
		}
	}
	v.m.Locked(func() { v.m.FS = disk })
	v.m.PowerCycle()
	return nil
}

// save writes the files down: a power cut may come at any time, and commands
// end side by side.
func (v *Machine) save() error {
	v.saving.Lock()
	defer v.saving.Unlock()
	var list []host.File
	v.m.Locked(func() {
		v.m.FS.Walk("/", func(_ string, n host.File) { list = append(list, n) })
	})
	same := func(a, b host.File) bool {
		return a.Path == b.Path && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && bytes.Equal(a.Data, b.Data)
	}
	if slices.EqualFunc(list, v.saved, same) {
		return nil
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	tmp := v.disk + ".tmp"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, v.disk); err != nil {
		return err
	}
	v.saved = list
	for i := range v.saved {
		v.saved[i].Data = bytes.Clone(v.saved[i].Data)
	}
	return nil
}

func (v *Machine) mirror() {
	if err := v.mirrored(); err != nil {
		v.fault(err)
	}
}

// Serve runs the commands that package call sends.
func (v *Machine) Serve() error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: call.Socket, Net: "unix"})
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				v.fault(err)
				return
			}
			go v.serve(c)
		}
	}()
	return nil
}

// serve runs one command on the caller's own standard streams, and answers
// with its exit status.
func (v *Machine) serve(c *net.UnixConn) {
	defer c.Close()
	line, files, err := receive(c)
	if err != nil {
		v.fault(fmt.Errorf("receive a command: %w", err))
		return
	}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	exit := 0
	if line == call.SFTP {
		lab.ServeSFTP(v.m, struct {
			io.Reader
			io.Writer
			io.Closer
		}{files[0], files[1], files[0]})
	} else {
		shell := v.m.Shell
		if shell == "" {
			shell = "sh"
		}
		exit = v.m.Exec(&sim.Call{Argv: []string{shell, "-c", line}, Dir: "/root", Stdin: files[0], Stdout: files[1], Stderr: files[2]})
	}
	v.mirror()
	if err := v.save(); err != nil {
		v.fault(fmt.Errorf("save the disk: %w", err))
	}
	_, _ = c.Write([]byte{byte(exit)})
}

// receive takes a command line and three open files.
func receive(c *net.UnixConn) (line string, files []*os.File, err error) {
	buf, oob := make([]byte, 1<<20), make([]byte, syscall.CmsgSpace(3*4))
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return "", nil, err
	}
	msgs, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return "", nil, fmt.Errorf("no files came with it: %w", err)
	}
	fds, err := syscall.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 3 {
		return "", nil, fmt.Errorf("%d files came with it: %w", len(fds), err)
	}
	for i, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), fmt.Sprint("fd", i)))
	}
	text := slices.Clone(buf[:n])
	for len(text) == 0 || text[len(text)-1] != 0 {
		n, err := c.Read(buf)
		if err != nil {
			return "", files, err
		}
		text = append(text, buf[:n]...)
	}
	return string(text[:len(text)-1]), files, nil
}
