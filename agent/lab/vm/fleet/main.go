//go:build linux

// Command fleet measures lvsfleet beside OpenSSH and Ansible on hosts with an
// OpenSSH server each: namespaces of this machine, on its own kernel. It wants
// root. Nothing leaves the namespaces that it makes.
//
//	go run ./agent/lab/vm/fleet [-cache .cache/vmlab] [-fleets 50,200,slow] [-ansible=false]
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lvsfleet/lvsfleet/agent/lab/vm"
)

func main() {
	cache := flag.String("cache", ".cache/vmlab", "programs are built in this `folder`")
	fleets := flag.String("fleets", "50,200,slow", "the `fleets` to measure: so many hosts, or a few over a slow line")
	ansible := flag.Bool("ansible", true, "measure Ansible too, which takes most of the time")
	flag.Parse()
	names := strings.Split(*fleets, ",")
	packages := vm.Packages()
	if *ansible {
		names, packages = append(names, "ansible"), append(packages, "ansible-core")
	}
	if err := measure(context.Background(), *cache, names, packages); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, cache string, names, packages []string) error {
	if err := vm.Install(ctx, os.Stdout, packages...); err != nil {
		return err
	}
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	bin := filepath.Join(cwd, cache, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if err := vm.Programs(ctx, cwd, bin); err != nil {
		return err
	}
	root, err := os.MkdirTemp("", "lvsfleet-fleet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	if err := lay(root, bin); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "guest"), append([]string{"fleet", root}, names...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	return cmd.Run()
}

// lay makes a root of its own, which shares this machine's /usr and nothing
// else.
func lay(root, bin string) error {
	for _, d := range []string{"usr", "etc/lab", "root/.ssh", "var/empty", "var/lib", "var/log", "var/run", "proc", "sys", "dev", "run", "tmp", "lab", "old", "opt"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	for _, l := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+l, filepath.Join(root, l)); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nsshd:x:74:74:sshd:/var/empty:/bin/false\n",
		"etc/group":         "root:x:0:\nsshd:x:74:\n",
		"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
		"etc/hosts":         "127.0.0.1 localhost\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, name := range []string{"guest", "lvsfleet"} {
		data, err := os.ReadFile(filepath.Join(bin, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, "opt", name), data, fs.FileMode(0o755)); err != nil {
			return err
		}
	}
	return nil
}
