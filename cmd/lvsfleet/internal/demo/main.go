// Command demo shows the main job on the simulated fleet: for each site it
// starts a lab, converges, converges again, reboots every host, damages one
// setting on each system, shows the difference and repairs it. It needs no
// root and no other machine, and fails if anything is not as it should be.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

func main() {
	binary := flag.String("lvsfleet", "bin/lvsfleet", "the program to show")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var rows []row
	for _, site := range flag.Args() {
		d := demo{binary: *binary, site: site, out: os.Stdout}
		r, err := d.run(ctx)
		if err != nil {
			fmt.Fprintf(os.Stderr, "demo: %s: %v\n", site, err)
			os.Exit(1)
		}
		rows = append(rows, r)
	}
	table(os.Stdout, rows)
}

// A row is what one site's demonstration came to.
type row struct {
	site               string
	hosts              int
	first, again, boot string
	damaged, repaired  string
}

func table(w io.Writer, rows []row) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SITE\tHOSTS\tCONVERGE\tAGAIN\tAFTER REBOOT\tDAMAGED\tREPAIRED")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", r.site, r.hosts, r.first, r.again, r.boot, r.damaged, r.repaired)
	}
	_ = t.Flush() // what cannot be written to a terminal has nobody to be told
}

type demo struct {
	binary, site string
	out          io.Writer
	dir          string
}

const labStart = 20 * time.Second

func (d *demo) run(ctx context.Context) (row, error) {
	loaded := hclfile.Load(d.site, hclfile.Input{})
	if loaded.Failed() {
		return row{}, errors.New("the inventory is not valid")
	}
	dir, err := os.MkdirTemp("", "lvsfleet-demo-")
	if err != nil {
		return row{}, err
	}
	defer os.RemoveAll(dir)
	d.dir = dir

	server := exec.CommandContext(ctx, d.binary, "lab", d.site, "--dir", dir, "--json")
	server.Stderr = os.Stderr
	server.Cancel = func() error { return server.Process.Signal(os.Interrupt) }
	server.WaitDelay = 5 * time.Second
	if err := server.Start(); err != nil {
		return row{}, err
	}
	defer func() {
		_ = server.Process.Signal(os.Interrupt) // it may have ended by itself
		_ = server.Wait()
	}()
	for deadline := time.Now().Add(labStart); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "ssh_config")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return row{}, errors.New("the lab did not start")
		}
	}

	r := row{site: filepath.Base(d.site), hosts: len(loaded.Site.Hosts)}
	if r.first, err = d.lvsfleet(ctx, 0, "converge", "--yes"); err != nil {
		return r, err
	}
	if r.again, err = d.lvsfleet(ctx, 0, "converge", "--yes"); err != nil {
		return r, err
	}
	if !strings.HasSuffix(r.again, "unchanged") {
		return r, fmt.Errorf("the second converge found something to do: %s", r.again)
	}
	for _, h := range loaded.Site.Hosts {
		if err := d.ssh(ctx, h.Name, "reboot"); err != nil {
			return r, err
		}
	}
	if r.boot, err = d.lvsfleet(ctx, 0, "diff"); err != nil {
		return r, err
	}
	damaged := 0
	for _, h := range loaded.Site.Hosts {
		command := damage(loaded.Site, h)
		if command == "" {
			continue
		}
		if err := d.ssh(ctx, h.Name, command); err != nil {
			return r, err
		}
		damaged++
	}
	if _, err = d.lvsfleet(ctx, 2, "diff"); err != nil {
		return r, err
	}
	r.damaged = fmt.Sprintf("%d hosts", damaged)
	if r.repaired, err = d.lvsfleet(ctx, 0, "converge", "--yes"); err != nil {
		return r, err
	}
	if _, err = d.lvsfleet(ctx, 0, "diff"); err != nil {
		return r, err
	}
	return r, nil
}

// damage gives a command that breaks the cluster on h the way it breaks in
// the field: the silence off, the VIP gone, the route lost.
func damage(site *inventory.Site, h *inventory.Host) string {
	want := site.Desired()[h.Name]
	switch {
	case want.Director != nil:
		if len(want.Director.Services) > 0 {
			s := want.Director.Services[0]
			return fmt.Sprintf("ipvsadm -e -t %s:%d -r %s:%d %s -w 0", s.Addr, s.Port, s.Real[0].Addr, s.Real[0].Port,
				map[inventory.Method]string{inventory.NAT: "-m", inventory.DR: "-g", inventory.TUN: "-i"}[s.Real[0].Method])
		}
	case len(want.VIPs) > 0:
		vip := want.VIPs[0]
		switch h.OS {
		case inventory.Linux:
			if vip.Method == inventory.TUN {
				return "ip addr del " + vip.Addr.String() + "/32 dev tunl0"
			}
			return "sysctl -w net.ipv4.conf.all.arp_ignore=0"
		case inventory.FreeBSD:
			return "ifconfig lo0 inet " + vip.Addr.String() + " -alias"
		case inventory.Solaris:
			if vip.Method == inventory.TUN {
				return "ifconfig ip.tun0 unplumb"
			}
			return "ifconfig lo0:1 unplumb"
		}
	case len(want.Gateways) > 0:
		gw := want.Gateways[0].String()
		if h.OS == inventory.Linux {
			return "ip route del default via " + gw
		}
		return "route delete default " + gw
	}
	return ""
}

// lvsfleet runs one command, shows it, and gives its last line.
func (d *demo) lvsfleet(ctx context.Context, want int, verb string, args ...string) (string, error) {
	fmt.Fprintf(d.out, "$ lvsfleet %s %s %s\n", verb, d.site, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, d.binary, append([]string{verb, d.site, "--lab", d.dir}, args...)...)
	var stdout bytes.Buffer
	cmd.Stdout = io.MultiWriter(d.out, &stdout)
	var progress bytes.Buffer
	cmd.Stderr = &progress
	err := cmd.Run()
	fmt.Fprintln(d.out)
	if got := cmd.ProcessState.ExitCode(); got != want {
		return "", fmt.Errorf("lvsfleet %s: exit %d, want %d: %w\n%s", verb, got, want, err, progress.Bytes())
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	_, last, _ := strings.Cut(lines[len(lines)-1], ": ")
	return last, nil
}

// ssh runs a command on a simulated host, as anybody's SSH client would.
func (d *demo) ssh(ctx context.Context, host, command string) error {
	fmt.Fprintf(d.out, "$ ssh %s %s\n", host, command)
	config, err := lab.Open(d.dir)
	if err != nil {
		return err
	}
	at, ok := config.Hosts[host]
	if !ok {
		return fmt.Errorf("the lab has no host %q", host)
	}
	client, err := (&remote.Dialer{}).Client(ctx, remote.Target{
		Name: host, Address: at.Address, Port: at.Port, User: at.User,
		IdentityFiles: []string{config.IdentityFile}, KnownHosts: []string{config.KnownHosts},
	})
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	out, err := session.CombinedOutput(command)
	if err != nil && command != "reboot" { // a host that reboots hangs up
		return fmt.Errorf("ssh %s %s: %w: %s", host, command, err, out)
	}
	return nil
}
